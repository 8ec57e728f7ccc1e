package place_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/internal/place"
)

// While one follows another no call fails, and none begins on one whose calls have been
// waited for.
func TestNoCallIsLostWhileOneFollowsAnother(t *testing.T) {
	type thing struct{ ended atomic.Bool }
	var p place.Place[*thing]
	p.Set(&thing{})
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := p.Take(context.Background(), time.Minute)
				if err != nil {
					t.Errorf("take: %v", err)
					return
				}
				if s.Value.ended.Load() {
					t.Error("a call on something that has ended")
				}
				s.Done()
			}
		})
	}
	last := &thing{}
	p.Set(last)
	for range 2000 {
		next := &thing{}
		<-p.Set(next)
		last.ended.Store(true)
		last = next
	}
	close(stop)
	all.Wait()
}

func TestAnEmptyPlaceIsWaitedFor(t *testing.T) {
	var p place.Place[int]
	if _, err := p.Take(t.Context(), 0); !errors.Is(err, place.ErrAway) {
		t.Errorf("without patience: %v", err)
	}
	if _, err := p.Take(t.Context(), time.Millisecond); !errors.Is(err, place.ErrAway) {
		t.Errorf("with little patience: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Take(ctx, time.Hour); !errors.Is(err, place.ErrAway) {
		t.Errorf("for a request that has ended: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		s, err := p.Take(t.Context(), time.Hour)
		if err == nil && s.Value != 7 {
			err = errors.New("somebody else")
		}
		got <- err
	}()
	p.Set(7)
	if err := <-got; err != nil {
		t.Error(err)
	}
	p.Leave()
	go func() {
		_, err := p.Take(t.Context(), time.Hour)
		got <- err
	}()
	p.Close()
	if err := <-got; !errors.Is(err, place.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
