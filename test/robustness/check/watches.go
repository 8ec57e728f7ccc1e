package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// watches compares each watch with the order of changes.
func (c *chain) watches(h *history.History, p *problems) {
	for _, w := range h.Watches {
		c.watch(w, p)
	}
}

func (c *chain) watch(w *history.Watch, p *problems) {
	who := fmt.Sprintf("watcher %d at server %d, %q from revision %d, begun at %v", w.Watcher, w.Server, w.Namespace, w.From, time.Duration(w.Call))
	next := c.index(w.From) // of the event to come
	skip := func() {
		for next < len(c.events) && w.Namespace != "" && !strings.HasPrefix(string(c.events[next].Key), w.Namespace+"/") {
			next++
		}
	}
	last := w.From
	for _, e := range w.Events {
		skip()
		if e.Type == history.Bookmark {
			if e.Revision < last {
				p.add("watch order", "%s: bookmark %d after revision %d", who, e.Revision, last)
			}
			if next < len(c.events) && c.events[next].Revision <= e.Revision {
				p.add("bookmark ahead", "%s: bookmark %d came before %s", who, e.Revision, describe(c.events[next]))
				return
			}
			last = e.Revision
			continue
		}
		switch {
		case e.Revision <= last:
			p.add("watch order", "%s: %s after revision %d", who, describe(e), last)
			return
		case next >= len(c.events):
			p.add("watch gap", "%s: %s, and there should be no more", who, describe(e))
			return
		case c.events[next].Revision < e.Revision:
			p.add("watch gap", "%s: %s came, and %s did not", who, describe(e), describe(c.events[next]))
			return
		}
		next, last = next+1, e.Revision
	}
}

// reads checks what reads saw against the state at their revision.
func (c *chain) reads(h *history.History, p *problems) {
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Outcome != history.OK {
			continue
		}
		switch op.Kind {
		case history.List:
			if d := differences(op.Objects, c.list(op.Namespace, c.index(op.Revision))); d != "" {
				p.add("list", "%s:%s", explain(op), d)
			}
			if at, _ := strconv.ParseUint(op.At, 10, 64); at > op.Revision || (op.Exact && at != op.Revision && !c.within(at, op.Revision)) {
				p.add("list", "%s: it is of another revision", explain(op))
			}
		case history.Get:
			v := op.Objects[op.Key]
			if got, ok := c.at(op.Key, c.index(v.Revision)); !ok || got != v {
				p.add("get", "%s: revision %d is %+v", explain(op), v.Revision, got)
			}
		}
	}
}

// within says whether a revision is that of a change of a transaction whose last is end: such
// a list is answered as of the end.
func (c *chain) within(revision, end uint64) bool {
	i, last := c.index(revision), c.index(end)
	if i == 0 || last == 0 || c.owner[i-1] == nil || c.events[last-1].Revision != end {
		return false
	}
	s := c.spans[c.owner[i-1].op.ID]
	return s.first <= i && s.last == last
}
