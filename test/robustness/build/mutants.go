package build

import (
	"fmt"
	"slices"
	"strings"
)

// mutants are mistakes that runs have to find; README.md says by which rule each was found.
var mutants = map[string][]Edit{
	// Reads of the newest state do not ask the leader.
	"stale-reads": {{
		Path: "core/store/route.go",
		Old:  "	return s.barriers.join(ctx, s.barrier)\n",
		New:  "	return nil\n",
	}},
	// The leader answers by what it has applied, though its followers may be ahead.
	"slow-leader": {{
		Path: "core/store/committed.go",
		Old:  "func (s *Store) waitCommitted(ctx context.Context, commit uint64) error {\n",
		New:  "func (s *Store) waitCommitted(ctx context.Context, commit uint64) error {\n	commit = 0\n",
	}},
	// Writes are acknowledged before they are durable.
	"no-fsync": {{
		Module: "github.com/hashicorp/raft-wal", Path: "segment/writer.go",
		Old: "	if err := w.wf.Sync(); err != nil {\n",
		New: "	if err := error(nil); err != nil {\n",
	}},
	// Watchers do not get one event in 97.
	"dropped-event": {{
		Path: "core/store/eventlog.go",
		Old:  "		b := l.bucketLocked(index.Bucket(c.Key))\n		b.events.push(newEvent(c))\n",
		New:  "		b := l.bucketLocked(index.Bucket(c.Key))\n		if c.Revision%97 == 0 {\n			continue\n		}\n		b.events.push(newEvent(c))\n",
	}},
	// Bookmarks pass over events that have not been sent.
	"early-bookmark": {{
		Path: "core/store/watcher.go",
		Old:  "w.store.events.read(w.prefix, w.cursor, 1); !behind && len(events) == 0 {\n",
		New:  "w.store.events.read(w.prefix, w.cursor, 1); !behind && len(events) >= 0 {\n",
	}},
	// Updates do not look at the revision that they expect.
	"no-guards": {{
		Path: "core/store/internal/fsm/machine.go",
		Old:  "	case w.Expect > 0 && uint64(w.Expect) != old.Revision:\n",
		New:  "	case w.Expect > 0 && false:\n",
	}},
	// An empty log of Badger is not removed at a start.
	"unborn": {{
		Path: "core/store/internal/engine/unborn.go",
		Old:  "		if fi.Size() == 0 {\n",
		New:  "		if fi.Size() < 0 {\n",
	}},
	// Followers judge changes by what they have.
	"hasty-judges": {{
		Path: "core/store/route.go",
		Old:  "	if ready, _ := s.leading.get(); ready {\n		return nil\n	}\n	return s.Barrier(ctx)\n",
		New:  "	return nil\n",
	}, {
		Path: "core/apiserver/newest.go",
		Old:  "	if err != nil && byState(err) {\n",
		New:  "	if err != nil && false && byState(err) {\n",
	}},
}

// Mutant is a mistake by its name.
func Mutant(name string) ([]Edit, error) {
	m, ok := mutants[name]
	if !ok {
		return nil, fmt.Errorf("no mistake %q; there are: %s", name, strings.Join(Mutants(), ", "))
	}
	return m, nil
}

// Mutants are the names of all mistakes.
func Mutants() []string {
	var names []string
	for n := range mutants {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
