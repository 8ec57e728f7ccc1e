package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

type walState = types.PersistentState

// Names under which Raft keeps its variables.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVoteCand = "LastVoteCand"
)

func (m *meta) term() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.Stable[keyTerm]; len(b) == 8 {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (m *meta) sumsFrom() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.SumsFrom
}

// Floor is the place up to which this server once had the log and may not have it now; nil
// where it has all that it ever acknowledged.
func (l *Log) Floor() *Position {
	l.meta.mu.Lock()
	defer l.meta.mu.Unlock()
	return l.meta.Floor
}

// ClearFloor says that the log is again at or behind its floor.
func (l *Log) ClearFloor() error { return l.meta.change(func(c *content) { c.Floor = nil }) }

// NoteServers remembers who takes part, so that a server with a damaged log knows whether it
// can come from others.
func (l *Log) NoteServers(c raft.Configuration) error {
	var names []string
	for _, s := range c.Servers {
		names = append(names, string(s.ID))
	}
	keep := 0
	if len(names) > 1 {
		keep = l.keep
	}
	l.recent.setBudget(keep)
	l.meta.mu.Lock()
	same := slices.Equal(names, l.meta.Servers)
	l.meta.mu.Unlock()
	if same || len(names) == 0 {
		return nil
	}
	return l.meta.change(func(c *content) { c.Servers = names })
}

// Found is what is left of a log.
type Found struct {
	Extent Extent
	// Stable says that Raft's variables are there, Term is the current one.
	Stable  bool
	Term    uint64
	Servers []string
	// Err is what is damaged, nil where nothing is.
	Err error
}

// Others says whether servers besides self take part.
func (f *Found) Others(self string) bool {
	return slices.ContainsFunc(f.Servers, func(s string) bool { return s != self })
}

// Inspect says what is left of the log in dir, which nobody has open.
func Inspect(dir string, format1 bool) (f Found) {
	initial, err := initialContent(dir, format1)
	if err != nil {
		f.Err = err
		return f
	}
	if _, err := os.Lstat(dir); err != nil {
		f.Err = err
		return f
	}
	m, err := openMeta(dir, initial, func(error) {})
	if err != nil {
		f.Err = err
		return f
	}
	defer m.Close()
	f.Stable, f.Term, f.Servers = true, m.term(), m.Servers
	if f.Extent, f.Err = checkSegments(dir, m.Log); f.Err == nil && f.Extent.Last.Index == 0 && m.Floor != nil {
		f.Extent.Last = *m.Floor
	}
	return f
}

// refillDir is where the new log is made before it takes the damaged one's place.
const refillDir = ".refill"

// Refill sets the log in dir aside as aside and puts an empty one in its place that has the
// same term and vote, and floor. What a crash leaves half done, FinishRefill ends.
func Refill(dir, aside string, floor Position) error {
	m, err := openMeta(dir, content{}, func(error) {})
	if err != nil {
		return err
	}
	fresh := content{Stable: m.Stable, SumsFrom: 1, Servers: m.Servers, Floor: &floor}
	if m.Floor != nil && floor.Before(*m.Floor) {
		fresh.Floor = m.Floor
	}
	if err := m.Close(); err != nil {
		return err
	}
	tmp := dir + refillDir
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if m, err = openMeta(tmp, fresh, func(error) {}); err != nil {
		return err
	}
	if err := m.Close(); err != nil {
		return err
	}
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("setting the Raft log aside: %w", err)
	}
	return FinishRefill(dir)
}

// FinishRefill ends a Refill that a crash has interrupted.
func FinishRefill(dir string) error {
	tmp := dir + refillDir
	if _, err := os.Lstat(tmp); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(dir); err == nil {
		return os.RemoveAll(tmp) // It had not come to setting the old one aside.
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("finishing the repair of the Raft log: %w", err)
	}
	return durable.SyncPath(filepath.Dir(dir))
}
