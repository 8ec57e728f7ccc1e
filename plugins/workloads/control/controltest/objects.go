package controltest

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
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
func Get[T any](e *Env, api getter[T], name string) T {
	e.Helper()
	obj, err := api.Get(e.Ctx, name, metav1.GetOptions{})
	if err != nil {
		e.Fatal(err)
	}
	return obj
}

// List returns all objects, as a list.
func List[L any](e *Env, api lister[L]) L {
	e.Helper()
	list, err := api.List(e.Ctx, metav1.ListOptions{})
	if err != nil {
		e.Fatal(err)
	}
	return list
}

// Create makes an object; the test ends where that fails.
func Create[T any](e *Env, api creator[T], obj T) {
	e.Helper()
	if _, err := api.Create(e.Ctx, obj, metav1.CreateOptions{}); err != nil {
		e.Fatal(err)
	}
}

// Update writes an object; the test ends where that fails.
func Update[T any](e *Env, api updater[T], obj T) {
	e.Helper()
	if _, err := api.Update(e.Ctx, obj, metav1.UpdateOptions{}); err != nil {
		e.Fatal(err)
	}
}

// UpdateStatus writes the status of an object; the test ends where that fails.
func UpdateStatus[T any](e *Env, api statusUpdater[T], obj T) {
	e.Helper()
	if _, err := api.UpdateStatus(e.Ctx, obj, metav1.UpdateOptions{}); err != nil {
		e.Fatal(err)
	}
}

// Delete deletes an object; the test ends where that fails.
func Delete(e *Env, api deleter, name string) {
	e.Helper()
	if err := api.Delete(e.Ctx, name, metav1.DeleteOptions{}); err != nil {
		e.Fatal(err)
	}
}

// Pods returns the pods of the namespace default.
func (e *Env) Pods() []v1.Pod {
	e.Helper()
	return List(e, e.Client.CoreV1().Pods("default")).Items
}

// Revisions returns the ControllerRevisions of the namespace default, the oldest first.
func (e *Env) Revisions() []appsv1.ControllerRevision {
	e.Helper()
	list := List(e, e.Client.AppsV1().ControllerRevisions("default")).Items
	slices.SortFunc(list, func(a, b appsv1.ControllerRevision) int { return int(a.Revision - b.Revision) })
	return list
}
