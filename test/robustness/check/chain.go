package check

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// Problem is something that must not happen.
type Problem struct {
	// Rule that is broken.
	Rule string
	Text string
}

func (p Problem) String() string { return p.Rule + ": " + p.Text }

// problems collects, the first ones of each rule in full.
type problems struct {
	list   []Problem
	counts map[string]int
}

func (p *problems) add(rule, format string, args ...any) {
	if p.counts == nil {
		p.counts = map[string]int{}
	}
	p.counts[rule]++
	if p.counts[rule] <= 5 {
		p.list = append(p.list, Problem{rule, fmt.Sprintf(format, args...)})
	}
}

// chain is the order of changes. State i is what i changes made.
type chain struct {
	events []history.Event
	// of each event, the operation and its change; nil where none is known.
	owner []*ownership
	// firstIndex and lastIndex are the changes of an operation (from 1), 0 where it has none.
	spans map[int]span
	keys  map[history.Key][]point
	// known is the time at which somebody had seen the revision of an event or a later one.
	known []int64
}

type ownership struct {
	op   *history.Operation
	part int
}

// span of changes of one operation: states first-1 to last.
type span struct{ first, last int }

// point is an object from one state on.
type point struct {
	index   int
	exists  bool
	version history.Version
}

// newChain puts together what watches delivered.
func newChain(h *history.History, p *problems) *chain {
	c := &chain{keys: map[history.Key][]point{}, spans: map[int]span{}}
	byRevision := map[uint64]history.Event{}
	for _, w := range h.Watches {
		for _, e := range w.Events {
			if e.Type == history.Bookmark {
				continue
			}
			other, ok := byRevision[e.Revision]
			if !ok {
				byRevision[e.Revision] = e
				continue
			}
			if e.Type != other.Type || e.Key != other.Key || e.Version != other.Version ||
				(e.Bytes != nil && other.Bytes != nil && !bytes.Equal(e.Bytes, other.Bytes)) {
				p.add("chain", "revision %d is two things: %s and, at server %d in watcher %d, %s",
					e.Revision, describe(other), w.Server, w.Watcher, describe(e))
			}
		}
	}
	for _, e := range byRevision {
		c.events = append(c.events, e)
	}
	slices.SortFunc(c.events, func(a, b history.Event) int {
		if a.Revision < b.Revision {
			return -1
		}
		return 1
	})
	for i, e := range c.events {
		before, exists := c.at(e.Key, i)
		switch {
		case e.Type == history.Added && exists:
			p.add("chain", "%s, and it exists since revision %d", describe(e), before.Revision)
		case e.Type != history.Added && !exists:
			p.add("chain", "%s, and it does not exist", describe(e))
		case e.Type != history.Added && e.UID != before.UID:
			p.add("chain", "%s, and revision %d has another uid %s", describe(e), before.Revision, before.UID)
		case e.Type == history.Deleted && e.Content != before.Content:
			p.add("chain", "%s, and revision %d has another content %q", describe(e), before.Revision, before.Content)
		}
		c.keys[e.Key] = append(c.keys[e.Key], point{i + 1, e.Type != history.Deleted, e.Version})
	}
	c.whenKnown(h)
	return c
}

func describe(e history.Event) string {
	return fmt.Sprintf("%s %s (rv %d, uid %.8s, content %q)", e.Type, e.Key, e.Revision, e.UID, e.Content)
}

// at is the object in state i.
func (c *chain) at(k history.Key, i int) (history.Version, bool) {
	points := c.keys[k]
	n := sort.Search(len(points), func(n int) bool { return points[n].index > i })
	if n == 0 || !points[n-1].exists {
		return history.Version{}, false
	}
	return points[n-1].version, true
}

// index is the state at a revision.
func (c *chain) index(revision uint64) int {
	return sort.Search(len(c.events), func(n int) bool { return c.events[n].Revision > revision })
}

// list is what namespace (or all) has in state i.
func (c *chain) list(namespace string, i int) map[history.Key]history.Version {
	out := map[history.Key]history.Version{}
	for k := range c.keys {
		if namespace == "" || strings.HasPrefix(string(k), namespace+"/") {
			if v, ok := c.at(k, i); ok {
				out[k] = v
			}
		}
	}
	return out
}

// whenKnown notes for each event the first time that somebody knew of it or a later one.
func (c *chain) whenKnown(h *history.History) {
	c.known = make([]int64, len(c.events))
	for i := range c.known {
		c.known[i] = 1 << 62
	}
	note := func(revision uint64, at int64) {
		if n := c.index(revision); n > 0 {
			c.known[n-1] = min(c.known[n-1], at)
		}
	}
	for _, w := range h.Watches {
		for _, e := range w.Events {
			note(e.Revision, e.At)
		}
	}
	for i := range h.Operations {
		op := &h.Operations[i]
		note(op.Revision, op.Return)
		for _, v := range op.Objects {
			note(v.Revision, op.Return)
		}
		for _, ch := range op.Changes {
			if ch.Result != nil && ch.Result.Revision > 0 {
				note(ch.Result.Revision, op.Return)
			}
		}
	}
	for i := len(c.known) - 2; i >= 0; i-- {
		c.known[i] = min(c.known[i], c.known[i+1])
	}
}
