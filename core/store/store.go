package store

import "context"

// Store is one server's replica of the state.
type Store struct{}

// Open opens or creates the store in cfg.Dir. A server that is the only voter is its
// leader, with everything acknowledged before applied, when Open returns.
func Open(ctx context.Context, cfg Config) (*Store, error) { return nil, ErrClosed }

// Close stops taking part and releases the directory.
func (s *Store) Close() error { return nil }

func (s *Store) Get(ctx context.Context, key Key) (Object, error) { return Object{}, ErrClosed }
func (s *Store) List(ctx context.Context, prefix Key, opts ListOptions) (Snapshot, error) {
	return Snapshot{}, ErrClosed
}
func (s *Store) Count(prefix Key) int                               { return 0 }
func (s *Store) Write(ctx context.Context, w Write) (Object, error) { return Object{}, ErrClosed }
func (s *Store) Watch(ctx context.Context, prefix Key, after uint64) (*Watcher, error) {
	return nil, ErrClosed
}
func (s *Store) Revision() uint64                                   { return 0 }
func (s *Store) Barrier(ctx context.Context) error                  { return ErrClosed }
func (s *Store) WaitFor(ctx context.Context, revision uint64) error { return ErrClosed }

// Leadership says whether this server leads and at which address the leader is.
func (s *Store) Leadership() (leader bool, address string) { return false, "" }

// LeadershipChanged is closed at the next change of Leadership.
func (s *Store) LeadershipChanged() <-chan struct{} { return nil }

var _ API = (*Store)(nil)
