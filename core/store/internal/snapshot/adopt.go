package snapshot

import (
	"errors"

	"github.com/hashicorp/raft"
)

// Adopt gives the newest snapshot the servers of its cluster. A restored backup has none until
// its first server starts.
func (s *Store) Adopt(servers raft.Configuration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		return errors.New("there is no snapshot")
	}
	r := *s.latest
	r.Meta.Configuration = servers
	if err := s.save(&r); err != nil {
		return err
	}
	s.latest = &r
	return nil
}
