package store

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// lookAgain is how often a leader looks whether it has applied an entry that changed nothing,
// which wakes nobody.
const lookAgain = time.Millisecond

// waitCommitted returns once everything up to the log index commit is applied here. A leader
// acknowledges nothing before, but followers may have applied it already, and shown it.
func (s *Store) waitCommitted(ctx context.Context, commit uint64) error {
	for {
		moved := s.reached.wait()
		for commit > s.applied.Load() {
			var e raft.Log
			if err := s.logs.GetLog(commit, &e); errors.Is(err, raft.ErrLogNotFound) {
				return nil // The log is cut behind what is applied.
			} else if err != nil {
				return err
			}
			if e.Type == raft.LogCommand {
				break
			}
			commit-- // Raft's own entries are not applied.
		}
		if commit <= s.applied.Load() {
			return nil
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-moved:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		case <-s.closing:
			again.Stop()
			return ErrClosed
		}
		again.Stop()
	}
}
