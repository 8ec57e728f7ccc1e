package check

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// linearizable says whether an operation must fit into the order of all.
func linearizable(op *history.Operation) bool {
	switch op.Kind {
	case history.Get, history.List:
		return op.At == "" && (op.Outcome == history.OK || op.Outcome == history.NotFound)
	}
	switch op.Outcome {
	case history.OK, history.Conflict, history.Exists, history.NotFound, history.Unknown:
		return true
	}
	return false
}

// fits says whether an operation can happen in state i, and in which state it leaves.
func (c *chain) fits(op *history.Operation, i int) (next int, ok bool) {
	switch {
	case op.Kind == history.Get:
		v, exists := c.at(op.Key, i)
		want, found := op.Objects[op.Key]
		return i, exists == found && v == want
	case op.Kind == history.List:
		// The content is checked once for all lists.
		return i, c.index(op.Revision) == i
	}
	if s, happened := c.spans[op.ID]; happened {
		return s.last, s.first == i+1
	}
	return i, c.refuses(op, i)
}

// refuses says whether state i is a reason for the refusal.
func (c *chain) refuses(op *history.Operation, i int) bool {
	for n := range op.Changes {
		ch := &op.Changes[n]
		v, exists := c.at(ch.Key, i)
		mismatch := exists && ((ch.GuardRevision != 0 && ch.GuardRevision != v.Revision) || (ch.GuardUID != "" && ch.GuardUID != v.UID))
		var reason history.Outcome
		switch {
		case ch.Verb == history.Create && exists:
			reason = history.Exists
		case ch.Verb != history.Create && !exists:
			reason = history.NotFound
		case ch.Verb != history.Create && mismatch:
			reason = history.Conflict
		}
		// Of several reasons in a transaction any may be told.
		if reason == op.Outcome || (reason != "" && len(op.Changes) > 1) {
			return true
		}
	}
	return false
}

func explain(op *history.Operation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "op %d (client %d at server %d, %v to %v): %s", op.ID, op.Client, op.Server,
		time.Duration(op.Call).Round(time.Microsecond), time.Duration(op.Return).Round(time.Microsecond), op.Kind)
	for _, ch := range op.Changes {
		fmt.Fprintf(&b, " [%s %s %q", ch.Verb, ch.Key, ch.Content)
		if ch.GuardRevision != 0 {
			fmt.Fprintf(&b, " if rv %d", ch.GuardRevision)
		}
		if ch.GuardUID != "" {
			fmt.Fprintf(&b, " if uid %.8s", ch.GuardUID)
		}
		b.WriteString("]")
	}
	switch op.Kind {
	case history.Get:
		fmt.Fprintf(&b, " %s at %q", op.Key, op.At)
		if v, ok := op.Objects[op.Key]; ok {
			fmt.Fprintf(&b, " saw %+v", v)
		}
	case history.List:
		fmt.Fprintf(&b, " of %q at %q (exact %t, %d pages, stream %t) saw revision %d", op.Namespace, op.At, op.Exact, op.Pages, op.Stream, op.Revision)
	}
	fmt.Fprintf(&b, ": %s", op.Outcome)
	if op.Message != "" {
		fmt.Fprintf(&b, " (%d %.300s)", op.Status, op.Message)
	}
	return b.String()
}

// differences between what a list saw and what it had to see.
func differences(saw, want map[history.Key]history.Version) string {
	if maps.Equal(saw, want) {
		return ""
	}
	var b strings.Builder
	for k, v := range want {
		if s, ok := saw[k]; !ok {
			fmt.Fprintf(&b, " %s is missing (%+v);", k, v)
		} else if s != v {
			fmt.Fprintf(&b, " %s is %+v, not %+v;", k, s, v)
		}
	}
	for k, s := range saw {
		if _, ok := want[k]; !ok {
			fmt.Fprintf(&b, " %s must not be there (%+v);", k, s)
		}
	}
	return b.String()
}
