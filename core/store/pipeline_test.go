package store

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// stuck is a pipeline whose answers nobody takes.
type stuck struct {
	raft.AppendPipeline
	closed chan struct{}
}

func (s *stuck) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	<-s.closed
	return nil, raft.ErrPipelineShutdown
}

func (s *stuck) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func newStuck() *stuck { return &stuck{closed: make(chan struct{})} }

// A send that Raft has forgotten ends: by itself, and when the store is closed.
func TestHeldUpSendsEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		close   bool
	}{
		"after a time": {timeout: time.Millisecond},
		"at the end":   {timeout: time.Hour, close: true},
	} {
		t.Run(name, func(t *testing.T) {
			var all pipelines
			p, err := all.add(newStuck(), tc.timeout)
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			go func() {
				_, err := p.AppendEntries(nil, nil)
				sent <- err
			}()
			if tc.close {
				if err := all.close(); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-sent:
				if !errors.Is(err, raft.ErrPipelineShutdown) {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it is still held up")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if len(all.open) != 0 {
				t.Error("a closed pipeline is still in care")
			}
		})
	}
}

func TestNoPipelineAfterTheEnd(t *testing.T) {
	var all pipelines
	if err := all.close(); err != nil {
		t.Fatal(err)
	}
	s := newStuck()
	if _, err := all.add(s, time.Hour); !errors.Is(err, raft.ErrTransportShutdown) {
		t.Errorf("add: %v", err)
	}
	select {
	case <-s.closed:
	default:
		t.Error("it was left open")
	}
}
