package control

import (
	"context"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
)

// Pods makes and deletes interchangeable pods for owners that expect them, and tells the
// owner in events.
type Pods struct {
	Client kubernetes.Interface
	Expect *Expectations
	Events record.EventRecorder
}

// Create makes a pod that is expected for the owner with a key. Where that fails the pod
// is expected no more. Nothing can be made in a namespace that is being deleted, which is
// no error.
func (c *Pods) Create(ctx context.Context, key string, owner runtime.Object, pod *v1.Pod) error {
	made, err := c.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err == nil {
		c.Events.Eventf(owner, v1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", made.Name)
		return nil
	}
	c.Expect.Created(key, 1)
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil
	}
	c.Events.Eventf(owner, v1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return err
}

// Delete deletes a pod whose deletion is expected for the owner with a key. That it is
// gone already is no error.
func (c *Pods) Delete(ctx context.Context, key string, owner runtime.Object, p *v1.Pod) error {
	err := c.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
	})
	if err == nil {
		c.Events.Eventf(owner, v1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", p.Name)
		return nil
	}
	c.Expect.Deleted(key, p.UID)
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.Events.Eventf(owner, v1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
	return fmt.Errorf("delete pod %s/%s: %w", p.Namespace, p.Name, err)
}

// PatchPod sends a strategic merge patch of a pod; it suits a Claimer.
func (k Kit) PatchPod(ctx context.Context, p *v1.Pod, patch []byte) error {
	_, err := k.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return err
}

// PodFrom makes a pod of an owner's template, with a generated name.
func PodFrom(template *v1.PodTemplateSpec, owner metav1.Object, kind schema.GroupVersionKind) *v1.Pod {
	t := template.DeepCopy()
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: generateName(owner.GetName()), Namespace: owner.GetNamespace(),
			Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Spec: t.Spec,
	}
}

// generateName is the prefix of the names of an owner's pods.
func generateName(name string) string {
	const longest = 253 - 6
	if len(name)+1 > longest {
		return name
	}
	return name + "-"
}

// SlowStart calls f with 0 to n-1 in batches of 1, 2, 4, … and stops after a batch in
// which a call failed: what fails once (a quota, a bad template) will mostly fail again.
// It returns how many calls were made, and the first error.
func SlowStart(n int, f func(i int) error) (int, error) {
	made := 0
	for size := 1; made < n; size *= 2 {
		step := min(size, n-made)
		batch := make([]int, step)
		for i := range batch {
			batch[i] = made + i
		}
		made += step
		if err := Each(batch, f); err != nil {
			return made, err
		}
	}
	return made, nil
}

// inFlight bounds the requests of one pass that run at a time.
const inFlight = 32

// Each calls f for all elements, many at a time, and returns the first error.
func Each[T any](list []T, f func(T) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	slots := make(chan struct{}, inFlight)
	for _, x := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(x); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}
