package fit

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
)

// spreadRule is one topology spread constraint with the matching pods counted.
type spreadRule struct {
	key        string
	selector   labels.Selector
	maxSkew    int
	minDomains int
	hard       bool
	self       int // 1 where the pod matches its own selector
	counts     map[string]int
	least      int
	most       int
}

func newSpreadRules(d *demand, snapshot *cache.Cache) ([]spreadRule, error) {
	rules := make([]spreadRule, 0, len(d.pod.Spread))
	for i := range d.pod.Spread {
		c := &d.pod.Spread[i]
		selector, err := metav1.LabelSelectorAsSelector(withKeys(c.LabelSelector, d.pod.Labels, c.MatchLabelKeys, nil))
		if err != nil {
			return nil, err
		}
		r := spreadRule{
			key: c.TopologyKey, selector: selector, maxSkew: int(c.MaxSkew), minDomains: 1,
			hard: c.WhenUnsatisfiable != v1.ScheduleAnyway, counts: map[string]int{},
		}
		if c.MinDomains != nil {
			r.minDomains = int(*c.MinDomains)
		}
		if selector.Matches(labels.Set(d.pod.Labels)) {
			r.self = 1
		}
		rules = append(rules, r)
	}
	for _, n := range snapshot.Slots() {
		if n == nil || n.Node == nil || !hasKeys(n, rules) {
			continue
		}
		for i := range rules {
			value, ok := n.Node.Labels[rules[i].key]
			if ok && eligible(d, &d.pod.Spread[i], n) {
				rules[i].counts[value] += matching(n, d.pod.Namespace, rules[i].selector)
			}
		}
	}
	for i := range rules {
		rules[i].summarize()
	}
	return rules, nil
}

// hasKeys reports whether a node has the topology keys of all hard rules: nodes that
// have not are no part of any domain.
func hasKeys(n *cache.NodeInfo, rules []spreadRule) bool {
	for i := range rules {
		if !rules[i].hard {
			continue
		}
		if _, ok := n.Node.Labels[rules[i].key]; !ok {
			return false
		}
	}
	return true
}

// eligible applies the inclusion policies of a constraint.
func eligible(d *demand, c *v1.TopologySpreadConstraint, n *cache.NodeInfo) bool {
	if c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == v1.NodeInclusionPolicyHonor {
		if d.affinity != nil {
			if ok, err := d.affinity.Match(n.API); !ok || err != nil {
				return false
			}
		}
	}
	if c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == v1.NodeInclusionPolicyHonor {
		for i := range n.Node.Taints {
			t := &n.Node.Taints[i]
			if t.Effect != v1.TaintEffectPreferNoSchedule && !d.tolerates(t) {
				return false
			}
		}
	}
	return true
}

func matching(n *cache.NodeInfo, namespace string, selector labels.Selector) int {
	count := 0
	for _, p := range n.Pods {
		if p.Namespace == namespace && p.DeletionTimestamp == nil && selector.Matches(labels.Set(p.Labels)) {
			count++
		}
	}
	return count
}

func (r *spreadRule) summarize() {
	first := true
	for _, n := range r.counts {
		if first || n < r.least {
			r.least = n
		}
		r.most = max(r.most, n)
		first = false
	}
	if len(r.counts) < r.minDomains {
		r.least = 0
	}
}

func spreadFits(rules []spreadRule, n *cache.NodeInfo, why *report) bool {
	for i := range rules {
		r := &rules[i]
		if !r.hard {
			continue
		}
		value, ok := n.Node.Labels[r.key]
		if !ok {
			why.add(Spread, reasonSpreadLabel)
			return false
		}
		if r.counts[value]+r.self-r.least > r.maxSkew {
			why.add(Spread, reasonSpread)
			return false
		}
	}
	return true
}

func spreadScore(rules []spreadRule, n *cache.NodeInfo) int64 {
	total, soft := int64(0), int64(0)
	for i := range rules {
		r := &rules[i]
		if r.hard {
			continue
		}
		soft++
		value, ok := n.Node.Labels[r.key]
		switch {
		case !ok:
		case r.most == r.least:
			total += full
		default:
			total += full * int64(r.most-r.counts[value]) / int64(r.most-r.least)
		}
	}
	if soft == 0 {
		return 0
	}
	return weightTopology * total / soft
}
