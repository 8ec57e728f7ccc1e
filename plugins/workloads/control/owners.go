package control

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Left reports whether an object has lost, or changed, the controller that it had.
func Left(old, obj metav1.Object) bool {
	before, after := metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(obj)
	return before != nil && (after == nil || before.UID != after.UID)
}

// Owners are the objects of one kind that control others, and what is expected for them.
type Owners[T metav1.Object] struct {
	// Kind is what owner references say.
	Kind schema.GroupVersionKind
	// Get returns an owner from the cache, or an error as Lookup takes it.
	Get    func(namespace, name string) (T, error)
	Expect *Expectations
}

// Lookup returns the owner with a key, false where there is none (any more): nothing is
// expected for it then.
func (o Owners[T]) Lookup(key string) (owner T, found bool, err error) {
	owner, found, err = Lookup(key, o.Get)
	if !found && err == nil {
		o.Expect.Forget(key)
	}
	return owner, found, err
}

// Of returns the owner that controls an object, false where none does that the cache
// shows. Another owner that has got the name of the one that did is not it.
func (o Owners[T]) Of(obj metav1.Object) (owner T, controlled bool) {
	ref := metav1.GetControllerOfNoCopy(obj)
	if ref == nil || ref.Kind != o.Kind.Kind || ref.APIVersion != o.Kind.GroupVersion().String() {
		return owner, false
	}
	found, err := o.Get(obj.GetNamespace(), ref.Name)
	if err != nil || found.GetUID() != ref.UID {
		return owner, false
	}
	return found, true
}

// Handler is told of the owners themselves: it has a loop look at each, and drops what is
// expected for one that is gone.
func (o Owners[T]) Handler(loop *Loop) cache.ResourceEventHandler {
	gone := func(obj any) {
		if key, ok := Key(obj); ok {
			o.Expect.Forget(key)
			loop.Add(key)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: loop.AddObject,
		UpdateFunc: func(old, obj any) {
			if old.(metav1.Object).GetUID() != obj.(metav1.Object).GetUID() {
				gone(old)
			}
			loop.AddObject(obj)
		},
		DeleteFunc: gone,
	}
}

// PodEvents tells owners of what happens to pods: the one that controls a pod, the one
// that did, and those that may adopt it. Pods that were made and deleted are expected no
// more.
type PodEvents[T metav1.Object] struct {
	Owners Owners[T]
	// Selecting returns the owners whose selector matches a pod. Its error says that there
	// are none, as with listers.
	Selecting func(p *v1.Pod) ([]T, error)
	// Wake asks for attention to the owner with a key.
	Wake func(key string)
	// Also, where not nil, is told of each pod as well, with the owner that controls it, the
	// zero value where none does, and whether the pod is gone.
	Also func(p *v1.Pod, owner T, gone bool)
}

// Handler is told of the pods.
func (e *PodEvents[T]) Handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			p := obj.(*v1.Pod)
			// One that is on its way out already was made nevertheless.
			if owner, ok := e.Owners.Of(p); ok {
				e.Owners.Expect.Created(KeyOf(owner), 1)
			}
			e.seen(p, false)
		},
		UpdateFunc: func(old, obj any) {
			p := obj.(*v1.Pod)
			if before := old.(*v1.Pod); Left(before, p) {
				if owner, ok := e.Owners.Of(before); ok {
					e.Wake(KeyOf(owner))
				}
			}
			e.seen(p, false)
		},
		DeleteFunc: OnGone(func(p *v1.Pod) { e.seen(p, true) }),
	}
}

// seen wakes the owner that controls a pod, or those that may adopt it.
func (e *PodEvents[T]) seen(p *v1.Pod, gone bool) {
	owner, controlled := e.Owners.Of(p)
	if e.Also != nil {
		e.Also(p, owner, gone)
	}
	leaves := gone || p.DeletionTimestamp != nil
	if controlled {
		if leaves {
			e.Owners.Expect.Deleted(KeyOf(owner), p.UID)
		}
		e.Wake(KeyOf(owner))
		return
	}
	if leaves || len(p.Labels) == 0 || metav1.GetControllerOfNoCopy(p) != nil {
		return
	}
	adopters, err := e.Selecting(p)
	if err != nil {
		return // none matches
	}
	for _, owner := range adopters {
		e.Wake(KeyOf(owner))
	}
}
