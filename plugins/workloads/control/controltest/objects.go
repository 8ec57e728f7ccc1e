package controltest

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type getter[T any] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
}

type lister[L any] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
}

type creator[T any] interface {
	Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error)
}

type updater[T any] interface {
	Update(ctx context.Context, obj T, o metav1.UpdateOptions) (T, error)
}

type statusUpdater[T any] interface {
	UpdateStatus(ctx context.Context, obj T, o metav1.UpdateOptions) (T, error)
}

type deleter interface {
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Get returns an object; the test ends where it is not there.
func Get[T any](t testing.TB, api getter[T], name string) T {
	t.Helper()
	obj, err := api.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// There reports whether there is an object of a name.
func There[T any](t testing.TB, api getter[T], name string) bool {
	t.Helper()
	_, err := api.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// List returns all objects, as a list.
func List[L any](t testing.TB, api lister[L]) L {
	t.Helper()
	list, err := api.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Create makes an object; the test ends where that fails.
func Create[T any](t testing.TB, api creator[T], obj T) {
	t.Helper()
	if _, err := api.Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Update writes an object; the test ends where that fails.
func Update[T any](t testing.TB, api updater[T], obj T) {
	t.Helper()
	if _, err := api.Update(t.Context(), obj, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Change changes an object as a user would, who gives it a new generation.
func Change[T metav1.Object](t testing.TB, api interface {
	getter[T]
	updater[T]
}, name string, change func(obj T),
) {
	t.Helper()
	obj := Get(t, api, name)
	change(obj)
	obj.SetGeneration(obj.GetGeneration() + 1)
	Update(t, api, obj)
}

// UpdateStatus writes the status of an object; the test ends where that fails.
func UpdateStatus[T any](t testing.TB, api statusUpdater[T], obj T) {
	t.Helper()
	if _, err := api.UpdateStatus(t.Context(), obj, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Delete deletes an object; the test ends where that fails.
func Delete(t testing.TB, api deleter, name string) {
	t.Helper()
	if err := api.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Pods returns the pods of the namespace default.
func (e *Env) Pods() []v1.Pod {
	e.Helper()
	return List(e, e.Client.CoreV1().Pods("default")).Items
}

// PodNames returns the names of the pods of the namespace default, in order.
func (e *Env) PodNames() []string {
	e.Helper()
	var names []string
	for _, p := range e.Pods() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// Revisions returns the ControllerRevisions of the namespace default, the oldest first.
func (e *Env) Revisions() []appsv1.ControllerRevision {
	e.Helper()
	list := List(e, e.Client.AppsV1().ControllerRevisions("default")).Items
	slices.SortFunc(list, func(a, b appsv1.ControllerRevision) int { return int(a.Revision - b.Revision) })
	return list
}
