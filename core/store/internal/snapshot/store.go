package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// State names the state that a snapshot stands for.
type State struct {
	// Applied is the index of the last entry that changed the state machine.
	Applied uint64 `json:"applied"`
	// Revision of the state.
	Revision uint64 `json:"revision"`
	// Horizon of the history kept with it.
	Horizon uint64 `json:"horizon"`
	// Digest of the live objects; 0 where it is not known.
	Digest uint64 `json:"digest,string,omitempty"`
}

// Source streams states; the size must be exact.
type Source interface {
	Open(State) (size int64, r io.ReadCloser, err error)
	// Pin keeps a state streamable until release is called.
	Pin(State) (release func())
}

// Store keeps the newest snapshot.
type Store struct {
	dir    string
	source Source
	write  func(path string, content []byte) error

	mu     sync.Mutex
	latest *record
	unpin  func()
	// incoming are the names of files being received.
	incoming map[string]bool
}

// record is a snapshot's metadata as it is on disk.
type record struct {
	Meta  raft.SnapshotMeta `json:"meta"`
	State State             `json:"state"`
	// Received is set while the content is in a file beside, not yet absorbed.
	Received bool `json:"received,omitempty"`
}

const (
	metaSuffix = ".json"
	dataSuffix = ".data"
	tmpSuffix  = ".tmp"
)

// Open reads what is in dir. write replaces files durably.
func Open(dir string, source Source, write func(path string, content []byte) error) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot directory: %w", err)
	}
	s := &Store{dir: dir, source: source, write: write, incoming: map[string]bool{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot directory: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), metaSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		// Those of the directory's first format have no checksum.
		if durable.Sealed(b) {
			if b, err = durable.Unseal(path, b); err != nil {
				return nil, fmt.Errorf("snapshot: %w", err)
			}
		}
		r := new(record)
		if err := json.Unmarshal(b, r); err != nil || r.Meta.ID == "" {
			return nil, fmt.Errorf("snapshot: %w", &durable.Damage{Path: path, Offset: 0, Reason: "it is no snapshot's metadata", Err: errors.Join(err, errNoID(r))})
		}
		if s.latest == nil || newer(&r.Meta, &s.latest.Meta) {
			s.latest = r
		}
	}
	s.sweep()
	s.pinLatest()
	return s, nil
}

func errNoID(r *record) error {
	if r.Meta.ID == "" {
		return errors.New("it has no ID")
	}
	return nil
}

func newer(a, b *raft.SnapshotMeta) bool {
	if a.Term != b.Term {
		return a.Term > b.Term
	}
	return a.Index > b.Index
}

// Latest is the state of the newest snapshot, and whether its content still waits in a
// file; ok is false where there is no snapshot.
func (s *Store) Latest() (state State, received, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		return State{}, false, false
	}
	return s.latest.State, s.latest.Received, true
}

// OpenReceived opens the content of the newest snapshot, which Latest said was received.
func (s *Store) OpenReceived() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path(s.latest.Meta.ID, dataSuffix)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("snapshot: %w", &durable.Damage{Path: path, Offset: -1, Reason: "it is missing", Err: err})
	}
	return f, err
}

// Absorbed says that the newest snapshot, if it was received, is now the state itself.
func (s *Store) Absorbed(state State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || !s.latest.Received {
		return nil
	}
	r := *s.latest
	r.State, r.Received, r.Meta.Size = state, false, 0
	if err := s.save(&r); err != nil {
		return err
	}
	s.latest = &r
	s.pinLatest()
	s.sweep()
	return nil
}

// Create implements raft.SnapshotStore.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("unsupported snapshot version %d", version)
	}
	return &Sink{store: s, record: record{Meta: raft.SnapshotMeta{
		Version:            version,
		ID:                 fmt.Sprintf("%020d-%020d", term, index),
		Index:              index,
		Term:               term,
		Configuration:      configuration,
		ConfigurationIndex: configurationIndex,
	}}}, nil
}

// List implements raft.SnapshotStore.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		return nil, nil
	}
	m := s.latest.Meta
	return []*raft.SnapshotMeta{&m}, nil
}

// Open implements raft.SnapshotStore: for a snapshot taken here it streams the state.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	if s.latest == nil || s.latest.Meta.ID != id {
		s.mu.Unlock()
		return nil, nil, fmt.Errorf("snapshot %s does not exist", id)
	}
	r := *s.latest
	// The pin of the newest snapshot may move on while the state is opened.
	release := s.source.Pin(r.State)
	s.mu.Unlock()
	defer release()
	if r.Received {
		f, err := os.Open(s.path(id, dataSuffix))
		if err != nil {
			return nil, nil, fmt.Errorf("snapshot %s: %w", id, err)
		}
		return &r.Meta, f, nil
	}
	size, rc, err := s.source.Open(r.State)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	r.Meta.Size = size
	return &r.Meta, rc, nil
}

// Close releases the pin.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unpin != nil {
		s.unpin()
		s.unpin = nil
	}
}

func (s *Store) path(id, suffix string) string { return filepath.Join(s.dir, id+suffix) }

func (s *Store) save(r *record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := s.write(s.path(r.Meta.ID, metaSuffix), durable.Seal(append(b, '\n'))); err != nil {
		return fmt.Errorf("snapshot metadata: %w", err)
	}
	return nil
}

func (s *Store) setIncoming(path string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name := filepath.Base(path); on {
		s.incoming[name] = true
	} else {
		delete(s.incoming, name)
	}
}

// publish makes r the newest snapshot. One that comes again, because a leader did not hear
// that it had arrived, takes the place of what it was the first time; one that is older than
// another by now is dropped.
func (s *Store) publish(r *record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest != nil && newer(&s.latest.Meta, &r.Meta) {
		s.sweep()
		return nil
	}
	if err := s.save(r); err != nil {
		return err
	}
	s.latest = r
	s.pinLatest()
	s.sweep()
	return nil
}

// pinLatest keeps what the newest snapshot needs, and no longer what the one before did.
// Without a snapshot everything is kept: after a crash the state is made again from the
// newest snapshot or from the beginning.
func (s *Store) pinLatest() {
	old := s.unpin
	var state State
	if s.latest != nil && !s.latest.Received {
		state = s.latest.State
	}
	s.unpin = s.source.Pin(state)
	if old != nil {
		old()
	}
}

// sweep removes the files of all but the newest snapshot.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return // Whatever stays is swept the next time.
	}
	for _, e := range entries {
		name := e.Name()
		if s.latest != nil {
			if name == s.latest.Meta.ID+metaSuffix || (s.latest.Received && name == s.latest.Meta.ID+dataSuffix) {
				continue
			}
		}
		if s.incoming[name] {
			continue
		}
		_ = os.Remove(filepath.Join(s.dir, name))
	}
}

var _ raft.SnapshotStore = (*Store)(nil)

// Sink takes one snapshot: SetState for one of this server's own state, or Write for the
// content sent by a leader.
type Sink struct {
	store  *Store
	record record
	file   *os.File
	done   bool
}

// ID implements raft.SnapshotSink.
func (k *Sink) ID() string { return k.record.Meta.ID }

// SetState says which state of this server the snapshot stands for.
func (k *Sink) SetState(s State) { k.record.State = s }

// Write implements io.Writer.
func (k *Sink) Write(p []byte) (int, error) {
	if k.file == nil {
		f, err := os.OpenFile(k.store.path(k.ID(), dataSuffix+tmpSuffix), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, fmt.Errorf("receiving a snapshot: %w", err)
		}
		k.file = f
		k.store.setIncoming(f.Name(), true)
	}
	n, err := k.file.Write(p)
	k.record.Meta.Size += int64(n)
	return n, err
}

// Close implements raft.SnapshotSink: the snapshot counts from here on.
func (k *Sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.file != nil {
		tmp := k.file.Name()
		defer k.store.setIncoming(tmp, false)
		if err := errors.Join(k.file.Sync(), k.file.Close()); err != nil {
			_ = os.Remove(tmp)
			return fmt.Errorf("receiving a snapshot: %w", err)
		}
		if err := os.Rename(tmp, k.store.path(k.ID(), dataSuffix)); err != nil {
			return fmt.Errorf("receiving a snapshot: %w", err)
		}
		k.record.Received = true
	}
	return k.store.publish(&k.record)
}

// Cancel implements raft.SnapshotSink.
func (k *Sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.file == nil {
		return nil
	}
	defer k.store.setIncoming(k.file.Name(), false)
	return errors.Join(k.file.Close(), os.Remove(k.file.Name()))
}

var _ raft.SnapshotSink = (*Sink)(nil)
