package fit

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

// term is a pod affinity term, prepared for many pods.
type term struct {
	selector    labels.Selector
	namespaces  []string
	nsSelector  labels.Selector // nil where there is none
	topologyKey string
	weight      int64
}

func newTerm(owner *model.Pod, t *v1.PodAffinityTerm, weight int64) (term, error) {
	selector, err := metav1.LabelSelectorAsSelector(withKeys(t.LabelSelector, owner.Labels, t.MatchLabelKeys, t.MismatchLabelKeys))
	if err != nil {
		return term{}, err
	}
	out := term{selector: selector, namespaces: t.Namespaces, topologyKey: t.TopologyKey, weight: weight}
	if t.NamespaceSelector != nil {
		if out.nsSelector, err = metav1.LabelSelectorAsSelector(t.NamespaceSelector); err != nil {
			return term{}, err
		}
	}
	if len(out.namespaces) == 0 && out.nsSelector == nil {
		out.namespaces = []string{owner.Namespace}
	}
	return out, nil
}

// withKeys adds to a selector what matchLabelKeys and mismatchLabelKeys stand for. An
// API server that has done so already loses nothing by it.
func withKeys(s *metav1.LabelSelector, own map[string]string, match, mismatch []string) *metav1.LabelSelector {
	if s == nil || len(match)+len(mismatch) == 0 {
		return s
	}
	s = s.DeepCopy()
	add := func(keys []string, op metav1.LabelSelectorOperator) {
		for _, key := range keys {
			if value, ok := own[key]; ok {
				s.MatchExpressions = append(s.MatchExpressions,
					metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}})
			}
		}
	}
	add(match, metav1.LabelSelectorOpIn)
	add(mismatch, metav1.LabelSelectorOpNotIn)
	return s
}

func (t *term) matches(p *model.Pod, snapshot *cache.Cache) bool {
	if !slices.Contains(t.namespaces, p.Namespace) &&
		(t.nsSelector == nil || !t.nsSelector.Matches(labels.Set(snapshot.NamespaceLabels(p.Namespace)))) {
		return false
	}
	return t.selector.Matches(labels.Set(p.Labels))
}

// domain is one value of a topology key.
type domain struct{ key, value string }

// podRules are the required rules between a pod and the pods that are placed, counted
// by topology domain.
type podRules struct {
	affinity, anti []term
	preferred      []term // anti-affinity with negative weight
	counts         map[domain]int
	forbidden      map[domain]bool // by the pod's own anti-affinity
	existing       map[domain]bool // by the anti-affinity of placed pods
	pull           map[domain]int64
	pullMin        int64
	pullMax        int64
	// first says that nobody matches the affinity terms yet but the pod itself.
	first bool
}

func terms(p *model.Pod, list []v1.PodAffinityTerm) ([]term, error) {
	out := make([]term, 0, len(list))
	for i := range list {
		t, err := newTerm(p, &list[i], 1)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func weighted(p *model.Pod, list []v1.WeightedPodAffinityTerm, sign int64, into []term) ([]term, error) {
	for i := range list {
		t, err := newTerm(p, &list[i].PodAffinityTerm, sign*int64(list[i].Weight))
		if err != nil {
			return nil, err
		}
		into = append(into, t)
	}
	return into, nil
}

func newPodRules(p *model.Pod, snapshot *cache.Cache) (*podRules, error) {
	r := &podRules{forbidden: map[domain]bool{}, existing: existingAnti(p, snapshot), pull: map[domain]int64{}}
	var err error
	if a := p.PodAffinity; a != nil {
		if r.affinity, err = terms(p, a.RequiredDuringSchedulingIgnoredDuringExecution); err != nil {
			return nil, err
		}
		if r.preferred, err = weighted(p, a.PreferredDuringSchedulingIgnoredDuringExecution, 1, r.preferred); err != nil {
			return nil, err
		}
	}
	if a := p.AntiAffinity; a != nil {
		if r.anti, err = terms(p, a.RequiredDuringSchedulingIgnoredDuringExecution); err != nil {
			return nil, err
		}
		if r.preferred, err = weighted(p, a.PreferredDuringSchedulingIgnoredDuringExecution, -1, r.preferred); err != nil {
			return nil, err
		}
	}
	if len(r.affinity)+len(r.anti)+len(r.preferred) > 0 {
		r.count(snapshot)
	}
	r.first = len(r.affinity) > 0 && len(r.counts) == 0
	for i := range r.affinity {
		r.first = r.first && r.affinity[i].matches(p, snapshot)
	}
	for _, w := range r.pull {
		r.pullMin, r.pullMax = min(r.pullMin, w), max(r.pullMax, w)
	}
	return r, nil
}

// count looks at every placed pod once.
func (r *podRules) count(snapshot *cache.Cache) {
	r.counts = map[domain]int{}
	for _, n := range snapshot.Slots() {
		if n == nil || n.Node == nil {
			continue
		}
		for _, other := range n.Pods {
			if r.matchesAll(other, snapshot) {
				for i := range r.affinity {
					if d, ok := domainOf(n, r.affinity[i].topologyKey); ok {
						r.counts[d]++
					}
				}
			}
			for i := range r.anti {
				if d, ok := domainOf(n, r.anti[i].topologyKey); ok && r.anti[i].matches(other, snapshot) {
					r.forbidden[d] = true
				}
			}
			for i := range r.preferred {
				if d, ok := domainOf(n, r.preferred[i].topologyKey); ok && r.preferred[i].matches(other, snapshot) {
					r.pull[d] += r.preferred[i].weight
				}
			}
		}
	}
}

func (r *podRules) matchesAll(p *model.Pod, snapshot *cache.Cache) bool {
	if len(r.affinity) == 0 {
		return false
	}
	for i := range r.affinity {
		if !r.affinity[i].matches(p, snapshot) {
			return false
		}
	}
	return true
}

// existingAnti returns where placed pods do not want the pod.
func existingAnti(p *model.Pod, snapshot *cache.Cache) map[domain]bool {
	var out map[domain]bool
	for _, other := range snapshot.Anti() {
		n := snapshot.Node(other.NodeName)
		if n == nil || n.Node == nil {
			continue
		}
		list := other.AntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		for i := range list {
			t, err := newTerm(other, &list[i], 1)
			if err != nil {
				continue // such a pod could not have been placed by its own rule
			}
			if d, ok := domainOf(n, t.topologyKey); ok && t.matches(p, snapshot) {
				if out == nil {
					out = map[domain]bool{}
				}
				out[d] = true
			}
		}
	}
	return out
}

func domainOf(n *cache.NodeInfo, key string) (domain, bool) {
	value, ok := n.Node.Labels[key]
	return domain{key, value}, ok
}

func (r *podRules) fits(n *cache.NodeInfo, why *report) bool {
	for i := range r.affinity {
		d, ok := domainOf(n, r.affinity[i].topologyKey)
		if !ok || (r.counts[d] == 0 && !r.first) {
			why.add(PodAffinity, reasonAffinity)
			return false
		}
	}
	for i := range r.anti {
		if d, ok := domainOf(n, r.anti[i].topologyKey); ok && r.forbidden[d] {
			why.add(PodAffinity, reasonAntiAffinity)
			return false
		}
	}
	for d := range r.existing {
		if n.Node.Labels[d.key] == d.value {
			why.add(PodAffinity, reasonExistingAnti)
			return false
		}
	}
	return true
}

func (r *podRules) score(n *cache.NodeInfo) int64 {
	if r.pullMax == r.pullMin {
		return 0
	}
	sum, seen := int64(0), map[domain]bool{}
	for i := range r.preferred {
		if d, ok := domainOf(n, r.preferred[i].topologyKey); ok && !seen[d] {
			seen[d] = true
			sum += r.pull[d]
		}
	}
	return weightPods * full * (sum - r.pullMin) / (r.pullMax - r.pullMin)
}
