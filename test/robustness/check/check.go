package check

import (
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// Rules say what a run may have.
type Rules struct {
	// Expired are the servers that may say that a revision is too old (410): those that lost
	// their history, or were so late that they were sent a state without it.
	Expired map[int]bool
	// Unauthorized answers are allowed: clocks were so wrong that certificates were not valid.
	Unauthorized bool
	// Timeout of porcupine; 0 leaves it out.
	Timeout time.Duration
}

// Result of a check.
type Result struct {
	Problems []Problem
	// Linearizability, where it was looked for.
	Linearizability *Linearizability
	// Hole says which changes no watch has delivered, because every server had lost them for
	// a reason: then only answers are judged.
	Hole string
	// Changes and the operations that must be in order.
	Changes, Ordered int
}

// History checks a history.
func History(h *history.History, r Rules) Result {
	p := &problems{}
	answers(h, r, p)
	if hole := uncovered(h); hole != "" && len(r.Expired) > 0 {
		return Result{Problems: p.list, Hole: hole}
	}
	c := newChain(h, p)
	c.own(h, p)
	c.watches(h, p)
	c.reads(h, p)
	c.inOrder(h, p)
	out := Result{Changes: len(c.events), Ordered: len(c.operations(h))}
	if r.Timeout > 0 {
		out.Linearizability = c.linearize(h, r.Timeout)
		if out.Linearizability.Result != "Ok" {
			p.add("linearizable", "porcupine says %s of %d operations", out.Linearizability.Result, out.Ordered)
		}
	}
	out.Problems = p.list
	return out
}

// answers looks for answers that no client can have expected.
func answers(h *history.History, r Rules, p *problems) {
	for i := range h.Operations {
		op := &h.Operations[i]
		switch {
		case op.Outcome == history.Wrong:
			p.add("answer", "%s", explain(op))
		case op.Status == 401 && !r.Unauthorized:
			p.add("unauthorized", "%s", explain(op))
		case op.Status == 410 && !r.Expired[op.Server] && (op.Pages == 0 || len(r.Expired) == 0):
			p.add("expired", "%s", explain(op))
		}
	}
	for _, w := range h.Watches {
		if w.Expired && !r.Expired[w.Server] {
			p.add("expired", "watcher %d at server %d from revision %d: %s", w.Watcher, w.Server, w.From, w.End)
		}
	}
}
