package fit

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

const (
	// maxClasses bounds how many classes are ranked at a time.
	maxClasses = 64
	// minSample is how many nodes that fit are always compared where there are so many.
	minSample = 100
	// minPercentage is the least share of the nodes that are looked at.
	minPercentage = 5
)

// Chooser chooses nodes from a snapshot.
type Chooser struct {
	snapshot   *cache.Cache
	percentage int
	classes    map[string]*class
	clock      uint64
	volumes    func(*model.Pod) (VolumeDemand, string)
	// start is where the next search begins, so that all nodes get their turn.
	start int
}

// NewChooser returns a chooser over a snapshot. percentage is how many percent of the
// nodes are compared for a pod whose fit depends on other pods; 0 adapts to their number.
func NewChooser(snapshot *cache.Cache, percentage int) *Chooser {
	return &Chooser{snapshot: snapshot, percentage: percentage, classes: map[string]*class{}}
}

// VolumeDemand is what the claims of a pod ask of its node.
type VolumeDemand interface {
	// Misfit says why a node will not do, and nothing where it does.
	Misfit(n *v1.Node) string
	// InUse reports whether another pod has to go first, whatever the node.
	InUse() bool
}

// ConsiderVolumes has pods with claims placed where their volumes are: of says for a pod what its
// claims ask, or why no node would do. Without it such pods are refused.
func (c *Chooser) ConsiderVolumes(of func(*model.Pod) (VolumeDemand, string)) { c.volumes = of }

// Choose returns the name of the best node for a pod. It fails with *Error where no node
// fits, with another error where the pod's own rules can't be read.
func (c *Chooser) Choose(p *model.Pod) (string, error) {
	if err := c.check(p); err != nil {
		return "", err
	}
	if c.alone(p) {
		return c.byClass(p)
	}
	return c.bySearch(p)
}

// check fails where no node needs to be looked at.
func (c *Chooser) check(p *model.Pod) error {
	if c.snapshot.Nodes() == 0 {
		return &Error{Cause: NoNodes}
	}
	if refusal := refuse(p); refusal != "" {
		return &Error{Nodes: c.snapshot.Nodes(), Cause: Refused, Refusal: refusal}
	}
	return nil
}

// alone reports whether each node's fit can be told from that node alone.
func (c *Chooser) alone(p *model.Pod) bool {
	return p.Simple() && len(p.Claims) == 0 && (len(c.snapshot.Anti()) == 0 || len(existingAnti(p, c.snapshot)) == 0)
}

// refuse names what a pod asks for that must not be ignored.
func refuse(p *model.Pod) string {
	if p.DeviceClaims {
		return "resource claims of spec.resourceClaims can't be allocated by this scheduler"
	}
	return ""
}

func (c *Chooser) byClass(p *model.Pod) (string, error) {
	k, err := c.class(p)
	if err != nil {
		return "", err
	}
	k.sync(c.snapshot)
	if slot := k.best(); slot >= 0 {
		return c.snapshot.Slots()[slot].Name, nil
	}
	return "", c.classFailure(k)
}

// classFailure says why no node fits a class.
func (c *Chooser) classFailure(k *class) *Error {
	if k.failure == nil || k.failedAt != k.seq {
		why := &report{reasons: map[string]int{}}
		for _, n := range c.snapshot.Slots() {
			if n != nil && n.Node != nil {
				k.demand.fits(n, why)
			}
		}
		k.failure = &Error{Nodes: c.snapshot.Nodes(), Cause: why.cause, Reasons: why.reasons}
		k.failedAt = k.seq
	}
	return k.failure
}

func (c *Chooser) class(p *model.Pod) (*class, error) {
	c.clock++
	if k := c.classes[p.Class]; k != nil {
		k.used = c.clock
		return k, nil
	}
	d, err := newDemand(p)
	if err != nil {
		return nil, err
	}
	if len(c.classes) >= maxClasses {
		oldest := ""
		for name, k := range c.classes {
			if oldest == "" || k.used < c.classes[oldest].used {
				oldest = name
			}
		}
		delete(c.classes, oldest)
	}
	k := &class{demand: d, used: c.clock}
	c.classes[p.Class] = k
	return k, nil
}

// search looks at nodes one by one.
type search struct {
	demand  *demand
	rules   *podRules
	spread  []spreadRule
	volumes VolumeDemand // nil for a pod without claims
}

func (c *Chooser) search(p *model.Pod) (*search, error) {
	d, err := newDemand(p)
	if err != nil {
		return nil, err
	}
	rules, err := newPodRules(p, c.snapshot)
	if err != nil {
		return nil, fmt.Errorf("pod affinity: %w", err)
	}
	spread, err := newSpreadRules(d, c.snapshot)
	if err != nil {
		return nil, fmt.Errorf("topology spread constraints: %w", err)
	}
	s := &search{demand: d, rules: rules, spread: spread}
	if len(p.Claims) > 0 {
		refusal := fmt.Sprintf("persistentvolumeclaim %q not found", p.Claims[0])
		if c.volumes != nil {
			s.volumes, refusal = c.volumes(p)
		}
		if refusal != "" {
			return nil, &Error{Nodes: c.snapshot.Nodes(), Cause: Volumes, Refusal: refusal}
		}
	}
	return s, nil
}

func (s *search) fits(n *cache.NodeInfo, why *report) bool {
	return s.demand.fits(n, why) && s.reaches(n, why) && spreadFits(s.spread, n, why) && s.rules.fits(n, why)
}

// reaches reports whether the pod's volumes can be had at a node.
func (s *search) reaches(n *cache.NodeInfo, why *report) bool {
	if s.volumes == nil {
		return true
	}
	reason := s.volumes.Misfit(n.API)
	if reason == "" {
		return true
	}
	if s.volumes.InUse() {
		why.add(VolumeInUse, reason)
	} else {
		why.add(Volumes, reason)
	}
	return false
}

func (s *search) score(n *cache.NodeInfo) int64 {
	return s.demand.score(n) + s.rules.score(n) + spreadScore(s.spread, n)
}

func (c *Chooser) bySearch(p *model.Pod) (string, error) {
	s, err := c.search(p)
	if err != nil {
		return "", err
	}
	why := &report{reasons: map[string]int{}}
	slots := c.snapshot.Slots()
	found, want := 0, c.sample()
	best, bestScore := "", int64(0)
	for i := range slots {
		at := (c.start + i) % len(slots)
		n := slots[at]
		if n == nil || n.Node == nil || !s.fits(n, why) {
			continue
		}
		if score := s.score(n); best == "" || score > bestScore {
			best, bestScore = n.Name, score
		}
		if found++; found == want {
			c.start = (at + 1) % len(slots)
			break
		}
	}
	if best == "" {
		return "", &Error{Nodes: c.snapshot.Nodes(), Cause: why.cause, Reasons: why.reasons}
	}
	return best, nil
}

// sample is how many nodes that fit are compared.
func (c *Chooser) sample() int {
	nodes := c.snapshot.Nodes()
	percentage := c.percentage
	if percentage == 0 {
		percentage = max(50-nodes/125, minPercentage)
	}
	return max(min(nodes, minSample), nodes*percentage/100)
}
