package check

import (
	"fmt"
	"slices"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// uncovered looks for revisions that no watch of a namespace has passed.
func uncovered(h *history.History) string {
	namespaces := map[string]bool{}
	for _, w := range h.Watches {
		if w.Namespace != "" {
			namespaces[w.Namespace] = true
		}
	}
	for namespace := range namespaces {
		type stretch struct{ from, to uint64 }
		var all []stretch
		for _, w := range h.Watches {
			if n := len(w.Events); n > 0 && (w.Namespace == "" || w.Namespace == namespace) {
				all = append(all, stretch{w.From, w.Events[n-1].Revision})
			}
		}
		slices.SortFunc(all, func(a, b stretch) int { return int(int64(a.from) - int64(b.from)) })
		for i, reached := 0, uint64(0); i < len(all); i++ {
			if i > 0 && all[i].from > reached {
				return fmt.Sprintf("revisions %d to %d of %s", reached+1, all[i].from, namespace)
			}
			reached = max(reached, all[i].to)
		}
	}
	return ""
}
