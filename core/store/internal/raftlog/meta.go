package raftlog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft-wal/types"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// The two copies of the metadata. Both are written before a change counts, one after the
// other: a crash damages at most the one being written, and a copy that is damaged otherwise
// is made again from the other.
var copies = [...]string{"meta-0", "meta-1"}

// A copy is: magic, sequence number (8 bytes), length (4 bytes), CRC-32C of the content and of
// what precedes it (4 bytes), content (JSON); all numbers big endian.
const (
	metaMagic  = "PINTLE-RAFT-2\n\x00\x00"
	metaHeader = len(metaMagic) + 8 + 4 + 4
	// maxMeta bounds what is read of a copy: some hundred bytes for each segment.
	maxMeta = 4 << 20
)

// content is what the metadata says.
type content struct {
	Log types.PersistentState `json:"log"`
	// Stable are Raft's own variables.
	Stable map[string][]byte `json:"stable,omitempty"`
	// SumsFrom is the index from which on entries have checksums of their own.
	SumsFrom uint64 `json:"sumsFrom"`
	// Servers are the names of all that take part, as far as is known here.
	Servers []string `json:"servers,omitempty"`
	// Floor is set while this server has lost entries that it had acknowledged.
	Floor *Position `json:"floor,omitempty"`
}

// Position is a place in the log, ordered as Raft orders logs: by term, then by index.
type Position struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Before says whether p is an older place than q.
func (p Position) Before(q Position) bool {
	return p.Term < q.Term || (p.Term == q.Term && p.Index < q.Index)
}

// meta implements types.MetaStore.
type meta struct {
	mu       sync.Mutex
	files    [len(copies)]*os.File
	sequence uint64
	content
	// warn is told of a copy that was made again.
	warn func(err error)
}

var _ types.MetaStore = (*meta)(nil)

// hasMeta says whether there is metadata in dir.
func hasMeta(dir string) bool {
	for _, name := range copies {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// openMeta reads the metadata in dir, or makes it from initial where there is none.
func openMeta(dir string, initial content, warn func(error)) (_ *meta, err error) {
	m := &meta{content: initial, warn: warn}
	fresh := !hasMeta(dir)
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	for i, name := range copies {
		if m.files[i], err = os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, fmt.Errorf("metadata of the Raft log: %w", err)
		}
	}
	if fresh {
		if err := m.save(); err != nil {
			return nil, err
		}
		return m, durable.SyncPath(dir)
	}
	var (
		failures []error
		newest   = -1
		read     [len(copies)]content
		sequence [len(copies)]uint64
	)
	for i, f := range m.files {
		if read[i], sequence[i], err = readCopy(f); err != nil {
			failures = append(failures, err)
			continue
		}
		if newest < 0 || sequence[i] > sequence[newest] {
			newest = i
		}
	}
	if newest < 0 {
		return nil, fmt.Errorf("both copies of Raft's variables are lost: %w", errors.Join(failures...))
	}
	m.content, m.sequence = read[newest], sequence[newest]
	for i := range m.files {
		if sequence[i] == sequence[newest] {
			continue
		}
		if len(failures) > 0 {
			m.warn(fmt.Errorf("made again from the other copy: %w", failures[0]))
		}
		if err := m.write(i); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func readCopy(f *os.File) (c content, sequence uint64, err error) {
	damage := func(offset int64, reason string, err error) (content, uint64, error) {
		return content{}, 0, &durable.Damage{Path: f.Name(), Offset: offset, Reason: reason, Err: err}
	}
	head := make([]byte, metaHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return damage(0, "it has no header", err)
	}
	if string(head[:len(metaMagic)]) != metaMagic {
		return damage(0, fmt.Sprintf("it begins with %q", head[:len(metaMagic)]), nil)
	}
	numbers := head[len(metaMagic):]
	sequence = binary.BigEndian.Uint64(numbers)
	n := binary.BigEndian.Uint32(numbers[8:])
	if n > maxMeta {
		return damage(int64(len(metaMagic))+8, fmt.Sprintf("its length is %d", n), nil)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, int64(metaHeader)); err != nil {
		return damage(int64(metaHeader), "it is cut short", err)
	}
	sum := crc32.Checksum(head[:metaHeader-4], durable.Castagnoli)
	if crc32.Update(sum, durable.Castagnoli, b) != binary.BigEndian.Uint32(numbers[12:]) {
		return damage(int64(metaHeader), "its checksum does not match", nil)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return damage(int64(metaHeader), "it can't be read", err)
	}
	return c, sequence, nil
}

// save makes the content durable in both copies.
func (m *meta) save() error {
	m.sequence++
	for i := range m.files {
		if err := m.write(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *meta) write(i int) error {
	b, err := json.Marshal(m.content)
	if err != nil {
		return err
	}
	if len(b) > maxMeta {
		return fmt.Errorf("metadata of the Raft log has %d bytes, more than %d", len(b), maxMeta)
	}
	out := make([]byte, 0, metaHeader+len(b))
	out = append(out, metaMagic...)
	out = binary.BigEndian.AppendUint64(out, m.sequence)
	out = binary.BigEndian.AppendUint32(out, uint32(len(b)))
	sum := crc32.Update(crc32.Checksum(out, durable.Castagnoli), durable.Castagnoli, b)
	out = append(binary.BigEndian.AppendUint32(out, sum), b...)
	f := m.files[i]
	if f == nil {
		return fs.ErrClosed
	}
	if _, err := f.WriteAt(out, 0); err != nil {
		return fmt.Errorf("metadata of the Raft log: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("metadata of the Raft log: %w", err)
	}
	return nil
}

// change saves what fn does to the content, or takes it back.
func (m *meta) change(fn func(c *content)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.content
	fn(&m.content)
	if err := m.save(); err != nil {
		m.content = before
		return err
	}
	return nil
}

// Load implements types.MetaStore.
func (m *meta) Load(string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.Log
	s.Segments = slices.Clone(s.Segments)
	return s, nil
}

// CommitState implements types.MetaStore.
func (m *meta) CommitState(s types.PersistentState) error {
	return m.change(func(c *content) { c.Log = s })
}

// GetStable implements types.MetaStore.
func (m *meta) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.Stable[string(key)]), nil
}

// SetStable implements types.MetaStore.
func (m *meta) SetStable(key, value []byte) error {
	return m.change(func(c *content) {
		stable := make(map[string][]byte, len(c.Stable)+1)
		for k, v := range c.Stable {
			stable[k] = v
		}
		stable[string(key)] = slices.Clone(value)
		c.Stable = stable
	})
}

// Close implements types.MetaStore.
func (m *meta) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for i, f := range m.files {
		if f != nil {
			errs = append(errs, f.Close())
			m.files[i] = nil
		}
	}
	return errors.Join(errs...)
}
