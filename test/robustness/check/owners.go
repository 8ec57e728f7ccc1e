package check

import (
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// own finds the operation that made each change, by what only it can have written.
func (c *chain) own(h *history.History, p *problems) {
	c.owner = make([]*ownership, len(c.events))
	byContent := map[string]*ownership{}
	var deletions []*ownership
	for i := range h.Operations {
		op := &h.Operations[i]
		for part := range op.Changes {
			o := &ownership{op, part}
			if op.Changes[part].Verb == history.Delete {
				deletions = append(deletions, o)
			} else {
				byContent[op.Changes[part].Content] = o
			}
		}
	}
	for i, e := range c.events {
		if e.Type == history.Deleted {
			continue
		}
		before, existed := c.at(e.Key, i)
		id := e.Content
		if v, patch, ok := strings.Cut(e.Content, "/"); ok {
			id = patch
			if was, _, _ := strings.Cut(before.Content, "/"); !existed || was != v {
				p.add("lost update", "%s by a patch, and the object before had content %q", describe(e), before.Content)
			}
		}
		o := byContent[id]
		if o == nil {
			p.add("phantom", "%s was written by nobody", describe(e))
			continue
		}
		c.claim(i, o, p)
	}
	c.ownDeletions(deletions, p)
	c.spansOf(h, p)
}

func (c *chain) claim(i int, o *ownership, p *problems) {
	e, ch := c.events[i], &o.op.Changes[o.part]
	c.owner[i] = o
	before, _ := c.at(e.Key, i)
	switch {
	case (ch.GuardRevision != 0 && ch.GuardRevision != before.Revision) || (ch.GuardUID != "" && ch.GuardUID != before.UID):
		p.add("guard", "%s replaced revision %d, uid %s by %s", describe(e), before.Revision, before.UID, explain(o.op))
	case ch.Key != e.Key:
		p.add("phantom", "%s was written as %s by %s", describe(e), ch.Key, explain(o.op))
	case (ch.Verb == history.Create) != (e.Type == history.Added) && ch.Verb != history.Delete:
		p.add("phantom", "%s by %s", describe(e), explain(o.op))
	}
}

// ownDeletions finds owners for deletions: the acknowledged by uid, then of those whose
// outcome is unknown any that could have been it, the most particular first.
func (c *chain) ownDeletions(deletions []*ownership, p *problems) {
	byUID := map[string][]*ownership{}
	var unknown []*ownership
	for _, o := range deletions {
		if r := o.op.Changes[o.part].Result; r != nil {
			byUID[r.UID] = append(byUID[r.UID], o)
		} else if o.op.Outcome == history.Unknown {
			unknown = append(unknown, o)
		}
	}
	particular := func(o *ownership) int {
		switch ch := o.op.Changes[o.part]; {
		case len(o.op.Changes) > 1:
			return 0
		case ch.GuardRevision != 0:
			return 1
		case ch.GuardUID != "":
			return 2
		}
		return 3
	}
	slices.SortStableFunc(unknown, func(a, b *ownership) int { return particular(a) - particular(b) })
	used := map[*ownership]bool{}
	for i, e := range c.events {
		if e.Type != history.Deleted {
			continue
		}
		if acked := byUID[e.UID]; len(acked) > 0 {
			c.claim(i, acked[0], p)
			if len(acked) > 1 {
				p.add("twice", "%s was acknowledged to two: %s and %s", describe(e), explain(acked[0].op), explain(acked[1].op))
			}
			continue
		}
		before, _ := c.at(e.Key, i)
		for _, o := range unknown {
			ch := &o.op.Changes[o.part]
			if used[o] || ch.Key != e.Key || o.op.Call > c.known[i] ||
				(ch.GuardRevision != 0 && ch.GuardRevision != before.Revision) || (ch.GuardUID != "" && ch.GuardUID != before.UID) ||
				!c.partners(i, o) {
				continue
			}
			used[o] = true
			c.claim(i, o, p)
			break
		}
		if c.owner[i] == nil {
			p.add("phantom", "%s was deleted by nobody", describe(e))
		}
	}
}

// partners says whether the changes around event i are those of the transaction that o is
// a part of. What has content of its own has an owner by now.
func (c *chain) partners(i int, o *ownership) bool {
	n := len(o.op.Changes)
	if n == 1 {
		return true
	}
	first := i - o.part
	if first < 0 || first+n > len(c.events) {
		return false
	}
	for j := range n {
		e, ch := c.events[first+j], &o.op.Changes[j]
		switch own := c.owner[first+j]; {
		case e.Key != ch.Key, (e.Type == history.Deleted) != (ch.Verb == history.Delete):
			return false
		case ch.Verb != history.Delete && (own == nil || own.op != o.op || own.part != j):
			return false
		}
	}
	return true
}

// spansOf checks that each operation's changes are there as it was told.
func (c *chain) spansOf(h *history.History, p *problems) {
	indexes := map[*history.Operation]map[int][]int{}
	for i, o := range c.owner {
		if o != nil {
			if indexes[o.op] == nil {
				indexes[o.op] = map[int][]int{}
			}
			indexes[o.op][o.part] = append(indexes[o.op][o.part], i+1)
		}
	}
	for i := range h.Operations {
		op := &h.Operations[i]
		if len(op.Changes) == 0 {
			continue
		}
		found := indexes[op]
		c.spanOf(op, found, p)
		switch {
		case len(found) == 0:
			if op.Outcome == history.OK {
				p.add("lost write", "%s was acknowledged and is in no watch", explain(op))
			}
		case op.Outcome != history.OK && op.Outcome != history.Unknown:
			p.add("refused and done", "%s, and it is revision %d", explain(op), c.events[c.spans[op.ID].first-1].Revision)
		case op.Outcome == history.Unknown && op.Retriable:
			p.add("refused and done", "%s has Retry-After, and it is revision %d", explain(op), c.events[c.spans[op.ID].first-1].Revision)
		}
	}
}

func (c *chain) spanOf(op *history.Operation, found map[int][]int, p *problems) {
	s := span{}
	for part := range op.Changes {
		at := found[part]
		if len(at) == 0 {
			if len(found) > 0 {
				p.add("part of a transaction", "%s: change %d of %s is missing, others are there", explain(op), part, op.Changes[part].Key)
			}
			continue
		}
		if len(at) > 1 {
			p.add("twice", "%s happened at revisions %d and %d", explain(op), c.events[at[0]-1].Revision, c.events[at[1]-1].Revision)
		}
		if s.first == 0 {
			s.first = at[0]
		}
		s.first, s.last = min(s.first, at[0]), max(s.last, at[0])
		r, e := op.Changes[part].Result, c.events[at[0]-1]
		if r == nil || op.Outcome != history.OK {
			continue
		}
		if r.UID != e.UID || (r.Revision != 0 && r.Revision != e.Revision) || (r.Content != "" && r.Content != e.Content) {
			p.add("answer", "%s was answered %+v, and watches say %s", explain(op), *r, describe(e))
		}
	}
	if len(found) == 0 {
		return
	}
	if s.last-s.first+1 != len(found) {
		p.add("part of a transaction", "%s: others' changes are between its own, revisions %d to %d",
			explain(op), c.events[s.first-1].Revision, c.events[s.last-1].Revision)
	}
	c.spans[op.ID] = s
}
