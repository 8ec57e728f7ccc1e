package check

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// operations that have to fit into the order of all, with the time by which each had
// happened. Writes of unknown outcome that nobody ever saw did not happen.
func (c *chain) operations(h *history.History) []timed {
	var out []timed
	for i := range h.Operations {
		op := &h.Operations[i]
		if !linearizable(op) {
			continue
		}
		t := timed{op, op.Return}
		if op.Outcome == history.Unknown {
			s, happened := c.spans[op.ID]
			if !happened {
				continue
			}
			t.by = max(c.known[s.last-1], op.Call+1)
		}
		out = append(out, t)
	}
	return out
}

type timed struct {
	*history.Operation
	by int64
}

// inOrder looks for each operation for a state in which it fits, not before what had been
// seen when it began and not after what had not begun when it ended.
func (c *chain) inOrder(h *history.History, p *problems) {
	ops := c.operations(h)
	// ceilings: by the time of calls, the state before each write.
	type bound struct {
		at int64
		i  int
		op *history.Operation
	}
	var begun []bound
	for _, op := range ops {
		if s, ok := c.spans[op.ID]; ok {
			begun = append(begun, bound{op.Call, s.first - 1, op.Operation})
		}
	}
	slices.SortFunc(begun, func(a, b bound) int { return int(min(max(a.at-b.at, -1), 1)) })
	for n := len(begun) - 2; n >= 0; n-- { // the lowest from here on
		if begun[n+1].i < begun[n].i {
			begun[n].i, begun[n].op = begun[n+1].i, begun[n+1].op
		}
	}
	slices.SortFunc(ops, func(a, b timed) int { return int(min(max(a.by-b.by, -1), 1)) })
	var ended []bound // with the highest floor so far
	for _, op := range ops {
		floor := bound{}
		if n, _ := slices.BinarySearchFunc(ended, op.Call, func(b bound, at int64) int { return int(min(max(b.at-at, -1), 1)) }); n > 0 {
			floor = ended[n-1]
		}
		ceiling := bound{i: len(c.events)}
		if n, _ := slices.BinarySearchFunc(begun, op.by+1, func(b bound, at int64) int { return int(min(max(b.at-at, -1), 1)) }); n < len(begun) {
			ceiling = begun[n]
		}
		least, ok := 0, false
		for i := floor.i; i <= ceiling.i && !ok; i++ {
			if _, ok = c.fits(op.Operation, i); ok {
				least, _ = c.fits(op.Operation, i)
			}
		}
		if !ok {
			p.add("order", "%s fits to no state between %s and %s", explain(op.Operation),
				c.state(floor.i, floor.op, "of which it was known by"), c.state(ceiling.i, ceiling.op, "before"))
			continue
		}
		last := bound{op.by, least, op.Operation}
		if n := len(ended); n > 0 && ended[n-1].i > least {
			last.i, last.op = ended[n-1].i, ended[n-1].op
		}
		ended = append(ended, last)
	}
}

func (c *chain) state(i int, by *history.Operation, how string) string {
	s := "the beginning"
	if i > 0 {
		s = "that at " + describe(c.events[i-1])
	}
	if by != nil {
		s += fmt.Sprintf(" (%s %s)", how, explain(by))
	}
	return s
}

// Linearizability is porcupine's judgement.
type Linearizability struct {
	Result porcupine.CheckResult
	model  porcupine.Model
	info   porcupine.LinearizationInfo
}

// Visualize writes a page that shows the order found, and where it ends.
func (l *Linearizability) Visualize(w io.Writer) error {
	return porcupine.Visualize(l.model, l.info, w)
}

// linearize lets porcupine look for an order.
func (c *chain) linearize(h *history.History, timeout time.Duration) *Linearizability {
	model := porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, _ any) (bool, any) {
			next, ok := c.fits(input.(*history.Operation), state.(int))
			return ok, next
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(input, _ any) string { return explain(input.(*history.Operation)) },
		DescribeState:     func(state any) string { return fmt.Sprint(state) },
	}
	var ops []porcupine.Operation
	for _, op := range c.operations(h) {
		ops = append(ops, porcupine.Operation{ClientId: op.Client, Input: op.Operation, Call: op.Call, Return: op.by})
	}
	l := &Linearizability{model: model}
	l.Result, l.info = porcupine.CheckOperationsVerbose(model, ops, timeout)
	return l
}
