package main

import (
	"context"
	"fmt"
	"math"
	"strconv"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/scheduling"
)

var (
	_ scheduling.Extension = (*cheapest)(nil)
	_ scheduling.Filter    = (*cheapest)(nil)
	_ scheduling.Score     = (*cheapest)(nil)
)

// Concerns says that the plugin is asked about all pods, many at a time.
func (*cheapest) Concerns() scheduling.Concerns { return scheduling.Concerns{} }

// Filter refuses the nodes that cost more than the pod may.
func (c *cheapest) Filter(_ context.Context, pod *v1.Pod, nodes []*scheduling.Node) ([]scheduling.Verdict, error) {
	text, ok := find(c.settings.MaxLabel, pod.Labels, pod.Annotations)
	if !ok {
		return nil, nil // all pass
	}
	limit, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s of the pod: %q is no price", c.settings.MaxLabel, text)
	}
	verdicts := make([]scheduling.Verdict, len(nodes))
	for i, n := range nodes {
		if c.price(n) > limit {
			verdicts[i] = scheduling.Refuse("node(s) cost more than " + text)
		}
	}
	return verdicts, nil
}

// Score gives the cheapest node the best score, the dearest none, and those between in
// proportion.
func (c *cheapest) Score(_ context.Context, _ *v1.Pod, nodes []*scheduling.Node) ([]int64, error) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, n := range nodes {
		low, high = min(low, c.price(n)), max(high, c.price(n))
	}
	scores := make([]int64, len(nodes))
	for i, n := range nodes {
		scores[i] = scheduling.MaxScore
		if high > low {
			scores[i] = int64(math.Round(scheduling.MaxScore * (high - c.price(n)) / (high - low)))
		}
	}
	return scores, nil
}

// price is what a node costs. One that can't be read is taken for none.
func (c *cheapest) price(n *scheduling.Node) float64 {
	text, ok := find(c.settings.Label, n.Labels, n.Annotations)
	price, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || price < 0 || math.IsInf(price, 0) || math.IsNaN(price) {
		return c.settings.Default
	}
	return price
}

func find(key string, in ...map[string]string) (string, bool) {
	for _, m := range in {
		if v, ok := m[key]; ok {
			return v, true
		}
	}
	return "", false
}
