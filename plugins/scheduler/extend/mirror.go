package extend

import (
	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// Mirror is the snapshot's nodes in the form in which plugins see them. It follows the
// snapshot's log of changes, so that what has not changed is the same pointer.
type Mirror struct {
	seq  uint64
	view remote.View
	from []*model.Node // what Nodes were made of
}

// Update brings the mirror up to date; the snapshot must not change meanwhile. The view may be
// read until the next Update.
func (m *Mirror) Update(snapshot *cache.Cache, usage bool) remote.View {
	slots := snapshot.Slots()
	for len(m.from) < len(slots) {
		m.from = append(m.from, nil)
		m.view.Nodes = append(m.view.Nodes, nil)
	}
	whole := m.seq == 0
	if usage && len(m.view.Usage) < len(slots) {
		whole = whole || len(m.view.Usage) == 0
		m.view.Usage = append(m.view.Usage, make([]*scheduling.Usage, len(slots)-len(m.view.Usage))...)
	}
	if whole || !snapshot.Since(m.seq, func(slot int) { m.set(slot, slots[slot]) }) {
		for slot, n := range slots {
			m.set(slot, n)
		}
	}
	m.seq = snapshot.Sequence()
	return m.view
}

func (m *Mirror) set(slot int, n *cache.NodeInfo) {
	if n == nil || n.Node == nil {
		m.from[slot], m.view.Nodes[slot] = nil, nil
		return
	}
	if m.from[slot] != n.Node {
		m.from[slot] = n.Node
		m.view.Nodes[slot] = &scheduling.Node{
			Name: n.Name, UID: n.Node.UID, Labels: n.Node.Labels, Annotations: n.Node.Annotations,
			Taints: n.Node.Taints, Unschedulable: n.Node.Unschedulable,
			Allocatable: n.Node.Allocatable.List(n.Node.AllowedPods),
		}
	}
	if slot < len(m.view.Usage) {
		m.view.Usage[slot] = &scheduling.Usage{Pods: len(n.Pods), Requested: n.Requested.List(int64(len(n.Pods)))}
	}
}
