package scheduler

import (
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/fit"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// setPod takes a pod as it is now.
func (e *engine) setPod(p *model.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setPodLocked(p)
	e.signal()
}

func (e *engine) setPodLocked(p *model.Pod) {
	e.pods[p.UID] = p
	if p.Terminal() || p.DeletionTimestamp != nil {
		e.consulting.abandon(p.UID)
	}
	switch {
	case p.Terminal():
		e.queue.Delete(p.UID)
		e.freed(e.cache.Remove(p.UID))
	case p.NodeName != "":
		e.queue.Delete(p.UID)
		if e.cache.Place(p) {
			e.queue.Move(uint16(fit.PodAffinity|fit.Spread), nil)
		}
	case p.DeletionTimestamp != nil:
		e.queue.Delete(p.UID)
		e.freed(e.cache.Remove(p.UID))
	case !e.serves[p.SchedulerName]:
	default:
		if _, placed := e.cache.Placed(p.UID); placed && !e.queue.Has(p.UID) {
			// It is bound already; this is older news, delivered late.
			return
		}
		e.queue.Set(p)
	}
}

// removePod takes the news that a pod is gone.
func (e *engine) removePod(p *model.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removePodLocked(p)
	e.signal()
}

func (e *engine) removePodLocked(p *model.Pod) {
	delete(e.pods, p.UID)
	e.consulting.abandon(p.UID)
	e.queue.Delete(p.UID)
	e.freed(e.cache.Remove(p.UID))
}

// replacePods takes all pods there are.
func (e *engine) replacePods(pods []*model.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := e.pods
	e.pods = make(map[types.UID]*model.Pod, len(pods))
	for _, p := range pods {
		delete(gone, p.UID)
		e.setPodLocked(p)
	}
	for _, p := range gone {
		e.removePodLocked(p)
	}
	e.signal()
}

// setNode takes a node as it is now.
func (e *engine) setNode(n *model.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setNodeLocked(n)
}

func (e *engine) setNodeLocked(n *model.Node) {
	e.nodes[n.Name] = n.UID
	old := e.cache.SetNode(n)
	if old != nil && old.Same(n) {
		return
	}
	e.queue.Move(uint16(causesOf(old, n)), nil)
	e.signal()
}

// causesOf says for which reasons pods may have waited for this change of a node.
func causesOf(old, n *model.Node) fit.Cause {
	if old == nil {
		return fit.Any
	}
	c := fit.Extension
	if !old.Allocatable.Equal(&n.Allocatable) || old.AllowedPods != n.AllowedPods {
		c |= fit.Resources
	}
	if !maps.Equal(old.Labels, n.Labels) {
		c |= fit.NodeAffinity | fit.PodAffinity | fit.Spread | fit.Volumes
	}
	same := *old
	same.Allocatable, same.AllowedPods, same.Labels = n.Allocatable, n.AllowedPods, n.Labels
	same.Annotations = n.Annotations
	if !same.Same(n) {
		c |= fit.Taints | fit.Spread
	}
	return c
}

// removeNode takes the news that a node is gone.
func (e *engine) removeNode(n *model.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removeNodeLocked(n.Name)
}

func (e *engine) removeNodeLocked(name string) {
	delete(e.nodes, name)
	e.cache.RemoveNode(name)
	// Domains may have gone with it, which changes what is even.
	e.queue.Move(uint16(fit.Spread|fit.PodAffinity|fit.Extension), nil)
	e.signal()
}

// replaceNodes takes all nodes there are.
func (e *engine) replaceNodes(nodes []*model.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := e.nodes
	e.nodes = make(map[string]types.UID, len(nodes))
	for _, n := range nodes {
		delete(gone, n.Name)
		e.setNodeLocked(n)
	}
	for name := range gone {
		e.removeNodeLocked(name)
	}
}

// setNamespace takes a namespace as it is now.
func (e *engine) setNamespace(n *model.Namespace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setNamespaceLocked(n)
}

func (e *engine) setNamespaceLocked(n *model.Namespace) {
	e.namespaces[n.Name] = true
	if maps.Equal(e.cache.NamespaceLabels(n.Name), n.Labels) {
		return
	}
	e.cache.SetNamespace(n.Name, n.Labels)
	e.queue.Move(uint16(fit.PodAffinity), nil)
	e.signal()
}

// removeNamespace takes the news that a namespace is gone.
func (e *engine) removeNamespace(n *model.Namespace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.namespaces, n.Name)
	e.cache.RemoveNamespace(n.Name)
}

// replaceNamespaces takes all namespaces there are.
func (e *engine) replaceNamespaces(list []*model.Namespace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := e.namespaces
	e.namespaces = make(map[string]bool, len(list))
	for _, n := range list {
		delete(gone, n.Name)
		e.setNamespaceLocked(n)
	}
	for name := range gone {
		e.cache.RemoveNamespace(name)
	}
}
