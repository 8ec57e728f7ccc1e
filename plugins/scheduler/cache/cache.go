package cache

import (
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// maxLog bounds the log of changes; who lags behind further looks at all nodes.
const maxLog = 1 << 14

// Cache is the snapshot.
type Cache struct {
	byName map[string]*NodeInfo
	slots  []*NodeInfo
	free   []int
	nodes  int

	placed map[types.UID]*placement
	// anti are the placed pods with required anti-affinity.
	anti       map[types.UID]*model.Pod
	namespaces map[string]map[string]string

	log  []int32
	base uint64
}

type placement struct {
	pod     *model.Pod
	assumed bool
}

// New returns an empty snapshot.
func New() *Cache {
	return &Cache{
		byName:     map[string]*NodeInfo{},
		placed:     map[types.UID]*placement{},
		anti:       map[types.UID]*model.Pod{},
		namespaces: map[string]map[string]string{},
	}
}

// SetNode takes a node, new or changed, and returns what was known of it before, or nil.
func (c *Cache) SetNode(n *model.Node) (old *model.Node) {
	info := c.info(n.Name)
	old = info.Node
	if old != nil && old.Same(n) {
		return old
	}
	if old == nil {
		c.nodes++
	}
	info.Node, info.API = n, n.AsNode()
	c.touch(info)
	return old
}

// RemoveNode forgets a node. Its pods stay known until they are removed.
func (c *Cache) RemoveNode(name string) {
	info := c.byName[name]
	if info == nil || info.Node == nil {
		return
	}
	info.Node, info.API = nil, nil
	c.nodes--
	c.touch(info)
	c.drop(info)
}

// Place records that a pod is on the node in its NodeName, whether assumed before or
// not. It reports whether that was news (and not the confirmation of an assumption).
func (c *Cache) Place(p *model.Pod) bool {
	known := c.placed[p.UID]
	if known == nil {
		c.put(p, false)
		return true
	}
	known.assumed = false
	if known.pod.NodeName == p.NodeName && known.pod.Class == p.Class && maps.Equal(known.pod.Labels, p.Labels) {
		known.pod.ResourceVersion = p.ResourceVersion
		return false
	}
	c.Remove(p.UID)
	c.put(p, false)
	return true
}

// Assume records that a pod will be on a node: its binding is under way.
func (c *Cache) Assume(p *model.Pod) {
	c.Remove(p.UID)
	c.put(p, true)
}

// Forget takes an assumption back. It does nothing if the pod's place has been confirmed.
func (c *Cache) Forget(uid types.UID) bool {
	if known := c.placed[uid]; known == nil || !known.assumed {
		return false
	}
	c.Remove(uid)
	return true
}

// Placed returns the node on which a pod is or will be.
func (c *Cache) Placed(uid types.UID) (node string, ok bool) {
	known := c.placed[uid]
	if known == nil {
		return "", false
	}
	return known.pod.NodeName, true
}

// Remove forgets a placed pod and returns its node, or nil if it was not known.
func (c *Cache) Remove(uid types.UID) *NodeInfo {
	known := c.placed[uid]
	if known == nil {
		return nil
	}
	delete(c.placed, uid)
	delete(c.anti, uid)
	info := c.byName[known.pod.NodeName]
	info.remove(known.pod)
	c.touch(info)
	c.drop(info)
	return info
}

func (c *Cache) put(p *model.Pod, assumed bool) {
	info := c.info(p.NodeName)
	info.add(p)
	c.placed[p.UID] = &placement{pod: p, assumed: assumed}
	if p.AntiAffinity != nil && len(p.AntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		c.anti[p.UID] = p
	}
	c.touch(info)
}

// Node returns a node by name, or nil.
func (c *Cache) Node(name string) *NodeInfo { return c.byName[name] }

// Slots returns all nodes; entries are nil or have no Node where there is none.
func (c *Cache) Slots() []*NodeInfo { return c.slots }

// Nodes is how many nodes there are.
func (c *Cache) Nodes() int { return c.nodes }

// Anti returns the placed pods with required anti-affinity.
func (c *Cache) Anti() map[types.UID]*model.Pod { return c.anti }

// SetNamespace takes the labels of a namespace.
func (c *Cache) SetNamespace(name string, labels map[string]string) { c.namespaces[name] = labels }

// RemoveNamespace forgets a namespace.
func (c *Cache) RemoveNamespace(name string) { delete(c.namespaces, name) }

// NamespaceLabels returns the labels of a namespace.
func (c *Cache) NamespaceLabels(name string) map[string]string { return c.namespaces[name] }

// Sequence numbers the changes: it grows with each.
func (c *Cache) Sequence() uint64 { return c.base + uint64(len(c.log)) }

// Since calls f with the slot of each change after a sequence number, some perhaps more
// than once. It returns false if the log does not reach back that far.
func (c *Cache) Since(seq uint64, f func(slot int)) bool {
	if seq < c.base {
		return false
	}
	for _, slot := range c.log[seq-c.base:] {
		f(int(slot))
	}
	return true
}

func (c *Cache) touch(n *NodeInfo) {
	if len(c.log) == maxLog {
		c.base += maxLog / 2
		c.log = append(c.log[:0], c.log[maxLog/2:]...)
	}
	c.log = append(c.log, int32(n.Slot))
}

func (c *Cache) info(name string) *NodeInfo {
	if info := c.byName[name]; info != nil {
		return info
	}
	info := &NodeInfo{Name: name, Pods: map[types.UID]*model.Pod{}}
	if n := len(c.free); n > 0 {
		info.Slot = c.free[n-1]
		c.free = c.free[:n-1]
		c.slots[info.Slot] = info
	} else {
		info.Slot = len(c.slots)
		c.slots = append(c.slots, info)
	}
	c.byName[name] = info
	return info
}

// drop frees the slot of a node of which nothing is left.
func (c *Cache) drop(n *NodeInfo) {
	if n.Node != nil || len(n.Pods) > 0 {
		return
	}
	delete(c.byName, n.Name)
	c.slots[n.Slot] = nil
	c.free = append(c.free, n.Slot)
}
