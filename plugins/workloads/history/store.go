package history

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Store reads and writes the revisions of the objects of one kind. Nothing of them is
// watched before they are asked for the first time.
type Store struct {
	kit    control.Kit
	kind   schema.GroupVersionKind
	live   func(ctx context.Context, namespace, name string) (metav1.Object, error)
	cached *control.Lazy
}

// NewStore returns the revisions of a kind. live reads an object of the kind from the API
// server; handler, where not nil, is told of events about revisions of all kinds.
func NewStore(kit control.Kit, kind schema.GroupVersionKind, live func(ctx context.Context, namespace, name string) (metav1.Object, error), handler cache.ResourceEventHandler) *Store {
	find := func() cache.SharedIndexInformer { return kit.Informers.Apps().V1().ControllerRevisions().Informer() }
	return &Store{kit: kit, kind: kind, live: live, cached: control.NewLazy(kit, find, control.IndexOwners, handler)}
}

// Of returns the revisions of an owner, sorted, adopting and releasing where needed. They
// are shared and must not be changed. ctx must be the controller's own.
func (s *Store) Of(ctx context.Context, owner metav1.Object, selector labels.Selector) ([]*appsv1.ControllerRevision, error) {
	indexer, err := s.cached.Indexer(ctx)
	if err != nil {
		return nil, err
	}
	claimer := control.Claimer[*appsv1.ControllerRevision]{
		Owner: owner, Kind: s.kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return s.live(ctx, owner.GetNamespace(), owner.GetName())
		},
		Patch: func(ctx context.Context, r *appsv1.ControllerRevision, patch []byte) error {
			_, err := s.kit.Client.AppsV1().ControllerRevisions(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	list, err := claimer.ClaimFrom(ctx, indexer)
	if err != nil {
		return nil, err
	}
	Sort(list)
	return list, nil
}

// Namer gives a revision its name.
type Namer struct {
	// Label is the label that carries the hash in the name.
	Label string
	// Hash makes a hash, another one for each number of collisions.
	Hash func(collisions *int32) string
}

// Create writes a new revision of an owner under a name that no other data has, and
// returns it with the number of collisions that took. That it is there already is no
// error: the cache may not have shown it.
func (s *Store) Create(ctx context.Context, owner metav1.Object, r *appsv1.ControllerRevision, n Namer, collisions *int32) (*appsv1.ControllerRevision, *int32, error) {
	api := s.kit.Client.AppsV1().ControllerRevisions(owner.GetNamespace())
	for {
		hash := n.Hash(collisions)
		r.Name, r.Labels[n.Label] = nameOf(owner.GetName(), hash), hash
		made, err := api.Create(ctx, r, metav1.CreateOptions{})
		if err == nil {
			return made, collisions, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, collisions, fmt.Errorf("create ControllerRevision %s/%s: %w", r.Namespace, r.Name, err)
		}
		there, err := api.Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return nil, collisions, fmt.Errorf("read ControllerRevision %s/%s: %w", r.Namespace, r.Name, err)
		}
		if Same(there, r) {
			return there, collisions, nil
		}
		next := int32(1)
		if collisions != nil {
			next = *collisions + 1
		}
		collisions = &next
	}
}

// Renumber gives a revision another number: an old one has become the present one again.
func (s *Store) Renumber(ctx context.Context, r *appsv1.ControllerRevision, number int64) (*appsv1.ControllerRevision, error) {
	return s.patch(ctx, r, map[string]any{"revision": number})
}

// Label gives a revision a label.
func (s *Store) Label(ctx context.Context, r *appsv1.ControllerRevision, key, value string) (*appsv1.ControllerRevision, error) {
	return s.patch(ctx, r, map[string]any{"metadata": map[string]any{"labels": map[string]string{key: value}}})
}

func (s *Store) patch(ctx context.Context, r *appsv1.ControllerRevision, change map[string]any) (*appsv1.ControllerRevision, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return nil, err
	}
	out, err := s.kit.Client.AppsV1().ControllerRevisions(r.Namespace).Patch(ctx, r.Name, types.MergePatchType, body, metav1.PatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("change ControllerRevision %s/%s: %w", r.Namespace, r.Name, err)
	}
	return out, nil
}

// Delete deletes a revision. That it is gone already is no error.
func (s *Store) Delete(ctx context.Context, r *appsv1.ControllerRevision) error {
	err := s.kit.Client.AppsV1().ControllerRevisions(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(r.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete ControllerRevision %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// Expired returns, of a sorted list, the oldest revisions beyond a limit, sparing those in
// use. A limit of nil keeps all.
func Expired(sorted []*appsv1.ControllerRevision, limit *int32, used func(*appsv1.ControllerRevision) bool) []*appsv1.ControllerRevision {
	if limit == nil || *limit < 0 {
		return nil
	}
	var idle []*appsv1.ControllerRevision
	for _, r := range sorted {
		if !used(r) {
			idle = append(idle, r)
		}
	}
	return idle[:max(0, len(idle)-int(*limit))]
}
