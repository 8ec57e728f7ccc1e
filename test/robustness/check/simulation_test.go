package check

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// simulation is a store that makes no mistakes, and clients of it: a history that is right,
// for tests that put one mistake into it.
type simulation struct {
	r        *rand.Rand
	h        *history.History
	revision uint64
	now      int64
	objects  map[history.Key]history.Version
	events   []history.Event
}

func simulate(seed uint64, operations int) *simulation {
	s := &simulation{r: rand.New(rand.NewPCG(seed, 0)), h: &history.History{Seed: seed}, revision: 10, objects: map[history.Key]history.Version{}}
	for range operations {
		s.operation()
	}
	s.watch(0, "", 10)
	s.watch(1, "a", 10)
	return s
}

// operation calls, happens at one moment and returns, overlapping with the one before.
func (s *simulation) operation() {
	op := history.Operation{ID: s.h.NextID(), Client: s.r.IntN(4), Call: s.now - s.r.Int64N(15), Return: s.now + 1 + s.r.Int64N(15), Outcome: history.OK}
	op.Call = max(op.Call, 0)
	s.now += 10
	key := history.Key(fmt.Sprintf("%s/k%d", []string{"a", "b"}[s.r.IntN(2)], s.r.IntN(3)))
	live, exists := s.objects[key]
	switch n := s.r.IntN(12); {
	case n < 2:
		op.Kind, op.Key = history.Get, key
		op.Objects = map[history.Key]history.Version{key: live}
		if !exists {
			op.Objects, op.Outcome = nil, history.NotFound
		}
	case n < 4:
		op.Kind, op.Namespace = history.List, []string{"", "a"}[s.r.IntN(2)]
		op.Revision, op.Objects = s.revision, maps.Clone(s.objects)
		if op.Namespace == "a" {
			maps.DeleteFunc(op.Objects, func(k history.Key, _ history.Version) bool { return !strings.HasPrefix(string(k), "a/") })
		}
	case n < 5:
		op.Kind = history.Transaction
		for i, k := range []history.Key{"a/t", "b/t"} {
			op.Changes = append(op.Changes, s.write(op.ID, i, k, history.Update, 0))
		}
	case !exists:
		op.Kind = history.Create
		op.Changes = []history.Change{s.write(op.ID, 0, key, history.Create, 0)}
	case n < 6:
		op.Kind, op.Outcome = history.Create, history.Exists
		op.Changes = []history.Change{{Verb: history.Create, Key: key, Content: fmt.Sprintf("%d.0", op.ID)}}
	case n < 7:
		op.Kind, op.Outcome = history.Update, history.Conflict
		op.Changes = []history.Change{{Verb: history.Update, Key: key, Content: fmt.Sprintf("%d.0", op.ID), GuardRevision: 1}}
	default:
		op.Kind = []history.Kind{history.Update, history.Patch, history.Delete}[s.r.IntN(3)]
		op.Changes = []history.Change{s.write(op.ID, 0, key, op.Kind, live.Revision)}
		if s.r.IntN(5) == 0 { // The answer is lost.
			op.Outcome, op.Changes[0].Result, op.Return = history.Unknown, nil, op.Call+1
		}
	}
	s.h.Add(op)
}

// write does a change now.
func (s *simulation) write(id, part int, key history.Key, verb history.Kind, guard uint64) history.Change {
	ch := history.Change{Verb: verb, Key: key, GuardRevision: guard}
	live, exists := s.objects[key]
	if verb == history.Update && !exists {
		ch.Verb = history.Create
	}
	s.revision += 1
	v := history.Version{Revision: s.revision, UID: live.UID}
	e := history.Event{Type: history.Modified, Key: key, At: s.now}
	if verb != history.Delete {
		ch.Content = fmt.Sprintf("%d.%d", id, part)
		v.Content = ch.Content
	}
	switch ch.Verb {
	case history.Create:
		v.UID, e.Type = fmt.Sprintf("uid-%d-%d", id, part), history.Added
	case history.Patch:
		was, _, _ := strings.Cut(live.Content, "/")
		v.Content = was + "/" + ch.Content
	case history.Delete:
		e.Type, v.Content = history.Deleted, live.Content
		delete(s.objects, key)
	}
	if ch.Verb != history.Delete {
		s.objects[key] = v
		ch.Result = &v
	} else {
		ch.Result = &history.Version{UID: v.UID}
	}
	e.Version = v
	s.events = append(s.events, e)
	return ch
}

// watch delivers everything after a revision, with bookmarks.
func (s *simulation) watch(id int, namespace string, from uint64) {
	w := &history.Watch{Watcher: id, Namespace: namespace, From: from}
	for i, e := range s.events {
		if e.Revision > from && (namespace == "" || strings.HasPrefix(string(e.Key), namespace+"/")) {
			w.Events = append(w.Events, e)
		}
		if i%7 == 0 && e.Revision > from {
			w.Events = append(w.Events, history.Event{Type: history.Bookmark, Version: history.Version{Revision: e.Revision}, At: e.At})
		}
	}
	s.h.Watches = append(s.h.Watches, w)
}

// find is an operation that what says yes to; -1 where there is none.
func (s *simulation) find(what func(*history.Operation) bool) int {
	for _, i := range s.r.Perm(len(s.h.Operations)) {
		if what(&s.h.Operations[i]) {
			return i
		}
	}
	return -1
}

func (s *simulation) event(w int, what func(history.Event) bool) int {
	events := s.h.Watches[w].Events
	for _, i := range s.r.Perm(len(events)) {
		if what(events[i]) {
			return i
		}
	}
	return -1
}

func (s *simulation) dropEvent(w, i int) {
	s.h.Watches[w].Events = slices.Delete(s.h.Watches[w].Events, i, i+1)
}
