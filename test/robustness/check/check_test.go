package check

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

func TestRightHistoriesPass(t *testing.T) {
	for seed := range uint64(40) {
		s := simulate(seed, 150)
		r := History(s.h, Rules{Timeout: time.Minute})
		for _, p := range r.Problems {
			t.Errorf("seed %d: %s", seed, p)
		}
		if r.Linearizability.Result != "Ok" || r.Changes < 30 || r.Ordered < 100 {
			t.Errorf("seed %d: %+v", seed, r)
		}
	}
}

// A deletion may have been that of several whose outcome is not known. It was not that of a
// transaction whose other changes are not there, though others made such changes beside it.
func TestDeletionsFindTheirOwner(t *testing.T) {
	tried := 0
	for seed := range uint64(40) {
		s := simulate(seed, 150)
		changes := map[uint64]*history.Operation{}
		for i := range s.h.Operations {
			op := &s.h.Operations[i]
			if op.Outcome == history.OK && len(op.Changes) == 1 && op.Changes[0].Result != nil {
				changes[op.Changes[0].Result.Revision] = op
			}
		}
		for _, w := range s.h.Watches {
			for i := range w.Events[:max(len(w.Events)-1, 0)] {
				gone, next := w.Events[i], w.Events[i+1]
				if gone.Type != history.Deleted || next.Type != history.Added || next.Revision != gone.Revision+1 {
					continue
				}
				for j := range s.h.Operations {
					op := &s.h.Operations[j]
					if op.Kind != history.Delete || op.Outcome != history.OK || op.Changes[0].Result.UID != gone.UID || changes[next.Revision] == nil {
						continue
					}
					op.Outcome, op.Changes[0].Result = history.Unknown, nil
					s.h.Operations = append(s.h.Operations, history.Operation{
						ID: 1e6 + tried, Client: 1e6 + tried, Kind: history.Transaction, Call: op.Call, Return: op.Return, Outcome: history.Unknown,
						Changes: []history.Change{
							{Verb: history.Delete, Key: gone.Key, GuardUID: gone.UID},
							{Verb: history.Create, Key: next.Key, Content: "never written"},
						},
					})
					tried++
					break
				}
			}
			break
		}
		for _, p := range History(s.h, Rules{Timeout: time.Minute}).Problems {
			t.Errorf("seed %d: %s", seed, p)
		}
	}
	if tried == 0 {
		t.Error("no deletion with a creation behind it")
	}
}

// mistakes put into right histories, and the rules of which one must notice.
var mistakes = []struct {
	name  string
	make  func(*simulation) bool
	rules []string
}{
	{"a write is lost", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Update && op.Outcome == history.OK })
		if i < 0 {
			return false
		}
		rv := s.h.Operations[i].Changes[0].Result.Revision
		for _, w := range s.h.Watches {
			w.Events = slices.DeleteFunc(w.Events, func(e history.Event) bool { return e.Type != history.Bookmark && e.Revision == rv })
		}
		return true
	}, []string{"lost write"}},
	{"a watch leaves an event out", func(s *simulation) bool {
		i := s.event(1, func(e history.Event) bool { return e.Type != history.Bookmark })
		if i < 0 || i > len(s.h.Watches[1].Events)-2 {
			return false
		}
		s.dropEvent(1, i)
		return true
	}, []string{"watch gap", "bookmark ahead"}},
	{"a watch repeats an event", func(s *simulation) bool {
		i := s.event(0, func(e history.Event) bool { return e.Type != history.Bookmark })
		s.h.Watches[0].Events = slices.Insert(s.h.Watches[0].Events, i, s.h.Watches[0].Events[i])
		return true
	}, []string{"watch order"}},
	{"a bookmark comes too early", func(s *simulation) bool {
		w := s.h.Watches[0]
		i := s.event(0, func(e history.Event) bool { return e.Type == history.Bookmark })
		if i < 1 || w.Events[i-1].Type == history.Bookmark {
			return false
		}
		w.Events[i-1], w.Events[i] = w.Events[i], w.Events[i-1]
		return true
	}, []string{"bookmark ahead"}},
	{"a read sees the state before", func(s *simulation) bool {
		for i := range s.h.Operations {
			op := &s.h.Operations[i]
			if op.Kind != history.Get || op.Outcome != history.OK {
				continue
			}
			have := op.Objects[op.Key]
			for _, e := range s.events {
				if e.Key == op.Key && e.UID == have.UID && e.Revision < have.Revision && e.Type != history.Deleted && s.longAgo(e, op) {
					op.Objects = map[history.Key]history.Version{op.Key: e.Version}
					return true
				}
			}
		}
		return false
	}, []string{"order", "linearizable"}},
	{"a list mixes two states", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.List && len(op.Objects) > 1 })
		if i < 0 {
			return false
		}
		for k := range s.h.Operations[i].Objects {
			delete(s.h.Operations[i].Objects, k)
			return true
		}
		return false
	}, []string{"list"}},
	{"a refused write happened", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Update && op.Outcome == history.OK })
		if i < 0 {
			return false
		}
		s.h.Operations[i].Outcome = history.Refused
		return true
	}, []string{"refused and done"}},
	{"a write that may be sent again happened", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Update && op.Outcome == history.Unknown })
		if i < 0 {
			return false
		}
		s.h.Operations[i].Retriable = true
		return true
	}, []string{"refused and done"}},
	{"a write is refused without a reason", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Outcome == history.Conflict })
		if i < 0 {
			return false
		}
		s.h.Operations[i].Outcome = history.NotFound
		return true
	}, []string{"order", "linearizable"}},
	{"a guard is not looked at", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool {
			return op.Kind == history.Update && op.Outcome == history.OK && op.Changes[0].GuardRevision != 0
		})
		if i < 0 {
			return false
		}
		s.h.Operations[i].Changes[0].GuardRevision--
		return true
	}, []string{"guard"}},
	{"a patch loses an update", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Patch && op.Outcome == history.OK })
		if i < 0 {
			return false
		}
		op := &s.h.Operations[i]
		for _, w := range s.h.Watches {
			for n := range w.Events {
				if w.Events[n].Revision == op.Changes[0].Result.Revision && w.Events[n].Type == history.Modified {
					w.Events[n].Content = "0.0/" + op.Changes[0].Content
				}
			}
		}
		return true
	}, []string{"lost update"}},
	{"a part of a transaction is lost", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Transaction })
		if i < 0 {
			return false
		}
		rv := s.h.Operations[i].Changes[1].Result.Revision
		for _, w := range s.h.Watches {
			w.Events = slices.DeleteFunc(w.Events, func(e history.Event) bool { return e.Type != history.Bookmark && e.Revision == rv })
		}
		return true
	}, []string{"part of a transaction"}},
	{"servers tell different stories", func(s *simulation) bool {
		i := s.event(1, func(e history.Event) bool { return e.Type == history.Modified })
		if i < 0 {
			return false
		}
		s.h.Watches[1].Events[i].Content += "0"
		return true
	}, []string{"chain"}},
	{"an object is deleted by nobody", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Delete && op.Outcome == history.OK })
		if i < 0 {
			return false
		}
		s.h.Operations = slices.Delete(s.h.Operations, i, i+1)
		return true
	}, []string{"phantom"}},
	{"an answer shows another revision", func(s *simulation) bool {
		i := s.find(func(op *history.Operation) bool { return op.Kind == history.Update && op.Outcome == history.OK })
		if i < 0 {
			return false
		}
		s.h.Operations[i].Changes[0].Result.Revision += 1000
		return true
	}, []string{"answer"}},
	{"the history is gone", func(s *simulation) bool {
		s.h.Watches[1].Expired = true
		return true
	}, []string{"expired"}},
}

// longAgo says that after e something of the same object had been acknowledged before op
// began.
func (s *simulation) longAgo(e history.Event, op *history.Operation) bool {
	for i := range s.h.Operations {
		o := &s.h.Operations[i]
		for _, ch := range o.Changes {
			if o.Outcome == history.OK && ch.Key == e.Key && ch.Result.Revision > e.Revision && o.Return < op.Call {
				return true
			}
		}
	}
	return false
}

func TestMistakesAreFound(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			made := 0
			for seed := range uint64(30) {
				s := simulate(seed, 150)
				if !m.make(s) {
					continue
				}
				made++
				r := History(s.h, Rules{Timeout: time.Minute})
				if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return slices.Contains(m.rules, p.Rule) }) {
					t.Errorf("seed %d: not found by %v: %v", seed, m.rules, r.Problems)
				}
			}
			if made < 10 {
				t.Error(fmt.Sprint("made only ", made, " times"))
			}
		})
	}
}
