package garbage

import (
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// identity says which object a node stands for.
type identity struct {
	UID             types.UID
	Kind            schema.GroupVersionKind
	Namespace, Name string
}

// node is an object in the graph. Its owner's lock guards it.
type node struct {
	identity
	owners     []metav1.OwnerReference
	dependents map[types.UID]*node
	// virtual says that the object is known from references to it only.
	virtual bool
	// deleting says that the object has a deletion timestamp; foreground and orphan that
	// it waits for its dependents to be deleted, or to be let go.
	deleting, foreground, orphan bool
}

// view is a copy of a node that is good outside of the lock.
type view struct {
	identity
	owners                                []metav1.OwnerReference
	virtual, deleting, foreground, orphan bool
	hasDependents                         bool
}

// queues is where the graph says what needs attention.
type queues interface {
	// Delete asks to look whether an object has to be deleted.
	Delete(uid types.UID)
	// Orphan asks to let go the dependents of an object.
	Orphan(uid types.UID)
	// Gone says that an object was there and has been deleted.
	Gone(uid types.UID)
}

// graph is who owns whom. It is safe for concurrent use.
type graph struct {
	queues queues

	mu    sync.Mutex
	nodes map[types.UID]*node
}

func newGraph(q queues) *graph { return &graph{queues: q, nodes: map[types.UID]*node{}} }

// set takes an object as it is now.
func (g *graph) set(kind schema.GroupVersionKind, m metav1.Object) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[m.GetUID()]
	if n == nil {
		n = &node{}
		g.nodes[m.GetUID()] = n
	}
	n.identity = identity{UID: m.GetUID(), Kind: kind, Namespace: m.GetNamespace(), Name: m.GetName()}
	if n.virtual {
		n.virtual = false
		g.checkReferences(n)
	}
	g.setOwners(n, m.GetOwnerReferences())
	g.setDeletion(n, m)
}

// checkReferences looks for dependents whose reference names another object than that of
// the UID, now that it is known.
func (g *graph) checkReferences(n *node) {
	for uid, d := range n.dependents {
		for i := range d.owners {
			if d.owners[i].UID == n.UID && !refersTo(&d.owners[i], d.Namespace, n) {
				g.queues.Delete(uid)
			}
		}
	}
}

// setOwners links a node to its owners. Owners that are not known become virtual nodes,
// to be looked up.
func (g *graph) setOwners(n *node, owners []metav1.OwnerReference) {
	if slices.EqualFunc(n.owners, owners, sameReference) {
		return
	}
	old := n.owners
	n.owners = slices.Clone(owners)
	for i := range old {
		if !slices.ContainsFunc(owners, func(r metav1.OwnerReference) bool { return r.UID == old[i].UID }) {
			g.unlink(old[i].UID, n)
		}
	}
	for i := range owners {
		ref := &owners[i]
		owner := g.nodes[ref.UID]
		if owner == nil {
			owner = &node{virtual: true, identity: identity{
				UID: ref.UID, Kind: schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind),
				Namespace: n.Namespace, Name: ref.Name,
			}}
			g.nodes[ref.UID] = owner
			g.queues.Delete(owner.UID)
		} else if owner.virtual || !refersTo(ref, n.Namespace, owner) {
			// The owner may be gone, or the reference names another object than that of
			// this UID.
			g.queues.Delete(n.UID)
		}
		if owner.dependents == nil {
			owner.dependents = map[types.UID]*node{}
		}
		owner.dependents[n.UID] = n
		if owner.foreground {
			g.queues.Delete(n.UID)
		}
	}
	// Owners in foreground deletion may have waited for a block that is lifted.
	for i := range old {
		if owner := g.nodes[old[i].UID]; owner != nil && owner.foreground {
			g.queues.Delete(owner.UID)
		}
	}
}

func sameReference(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && a.Name == b.Name && a.Kind == b.Kind && a.APIVersion == b.APIVersion &&
		flag(a.BlockOwnerDeletion) == flag(b.BlockOwnerDeletion) && flag(a.Controller) == flag(b.Controller)
}

func flag(b *bool) bool { return b != nil && *b }

// refersTo reports whether a reference from a namespace fits an object of the UID it
// names. Versions are no matter: they are views of one object.
func refersTo(ref *metav1.OwnerReference, namespace string, owner *node) bool {
	kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	return kind.GroupKind() == owner.Kind.GroupKind() && ref.Name == owner.Name &&
		(owner.Namespace == "" || owner.Namespace == namespace)
}

func (g *graph) setDeletion(n *node, m metav1.Object) {
	deleting := m.GetDeletionTimestamp() != nil
	foreground := deleting && slices.Contains(m.GetFinalizers(), metav1.FinalizerDeleteDependents)
	orphan := deleting && slices.Contains(m.GetFinalizers(), metav1.FinalizerOrphanDependents)
	starts := foreground && !n.foreground
	orphans := orphan && !n.orphan
	n.deleting, n.foreground, n.orphan = deleting, foreground, orphan
	if starts {
		for uid := range n.dependents {
			g.queues.Delete(uid)
		}
		g.queues.Delete(n.UID)
	}
	if orphans {
		g.queues.Orphan(n.UID)
	}
}

// remove takes the news that an object is gone.
func (g *graph) remove(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.nodes[uid]; n != nil && !n.virtual {
		g.queues.Gone(uid)
	}
	g.removeLocked(uid)
}

func (g *graph) removeLocked(uid types.UID) {
	n := g.nodes[uid]
	if n == nil {
		return
	}
	for i := range n.owners {
		g.unlink(n.owners[i].UID, n)
	}
	if len(n.dependents) == 0 {
		delete(g.nodes, uid)
		return
	}
	// As long as there are references to it, it stays as what it was before it was seen:
	// it may only have been looked for in the wrong place.
	n.owners, n.virtual, n.deleting, n.foreground, n.orphan = nil, true, false, false, false
	for dependent := range n.dependents {
		g.queues.Delete(dependent)
	}
}

// unlink takes a dependent off its owner.
func (g *graph) unlink(owner types.UID, n *node) {
	o := g.nodes[owner]
	if o == nil {
		return
	}
	delete(o.dependents, n.UID)
	if o.foreground {
		// It may have waited for just this one.
		g.queues.Delete(owner)
	}
	if o.virtual && len(o.dependents) == 0 {
		delete(g.nodes, owner)
	}
}

// retain removes the objects of a kind that are not among those that there are. They may
// be served under another version, so that they are not taken for deleted.
func (g *graph) retain(kind schema.GroupVersionKind, there map[types.UID]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var gone []types.UID
	for uid, n := range g.nodes {
		if !n.virtual && n.Kind == kind && !there[uid] {
			gone = append(gone, uid)
		}
	}
	for _, uid := range gone {
		g.removeLocked(uid)
	}
}

// get returns a node, and false if there is none.
func (g *graph) get(uid types.UID) (view, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[uid]
	if n == nil {
		return view{}, false
	}
	return n.view(), true
}

func (n *node) view() view {
	return view{
		identity: n.identity, owners: n.owners, virtual: n.virtual, deleting: n.deleting,
		foreground: n.foreground, orphan: n.orphan, hasDependents: len(n.dependents) > 0,
	}
}

// hasAllOwners reports whether all owners of an object are known to be there, in which
// case there is nothing to be done about it.
func (g *graph) hasAllOwners(uid types.UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[uid]
	if n == nil || n.virtual || len(n.owners) == 0 {
		return false
	}
	for i := range n.owners {
		owner := g.nodes[n.owners[i].UID]
		if owner == nil || owner.virtual || owner.foreground || !refersTo(&n.owners[i], n.Namespace, owner) {
			return false
		}
	}
	return true
}

// dependents returns the dependents of an object.
func (g *graph) dependents(uid types.UID) []view {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[uid]
	if n == nil {
		return nil
	}
	out := make([]view, 0, len(n.dependents))
	for _, d := range n.dependents {
		out = append(out, d.view())
	}
	return out
}

// blocks reports whether a dependent holds up the foreground deletion of an owner.
func (v *view) blocks(owner types.UID) bool {
	for i := range v.owners {
		if v.owners[i].UID == owner && flag(v.owners[i].BlockOwnerDeletion) {
			return true
		}
	}
	return false
}
