package main

import (
	"context"
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// Score implements scheduling.Score: the cheapest of the nodes gets the most, the dearest
// nothing, and those between in proportion. A node whose price is not known is as dear as the
// dearest. It is asked about all nodes at once, and often: it only computes.
func (p *Plugin) Score(_ context.Context, _ *corev1.Pod, nodes []*scheduling.Node) ([]int64, error) {
	prices := make([]float64, len(nodes))
	cheapest, dearest := math.Inf(1), math.Inf(-1)
	for i, n := range nodes {
		price, err := strconv.ParseFloat(n.Labels[p.settings.Label], 64)
		if err != nil || math.IsNaN(price) || math.IsInf(price, 0) {
			prices[i] = math.Inf(1)
			continue
		}
		prices[i] = price
		cheapest, dearest = min(cheapest, price), max(dearest, price)
	}
	scores := make([]int64, len(nodes))
	for i, price := range prices {
		switch {
		case math.IsInf(price, 1): // not known
		case cheapest == dearest:
			scores[i] = scheduling.MaxScore
		default:
			scores[i] = int64(math.Round((dearest - price) / (dearest - cheapest) * scheduling.MaxScore))
		}
	}
	return scores, nil
}
