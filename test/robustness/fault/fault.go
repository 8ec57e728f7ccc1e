package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

// Env is what faults act on.
type Env struct {
	Cluster *cluster.Cluster
	Rand    *rand.Rand
	// Note tells what is done, and when.
	Note func(string)
	// Forgot is told of servers that may have lost the history of before.
	Forgot func(*cluster.Server)
	// Clock sets how far the wall clock of a server is off; nil where it can't be changed.
	Clock func(s *cluster.Server, offset time.Duration) error
}

// Fault is one way for things to go wrong.
type Fault struct {
	Name string
	// Servers it needs, at least.
	Servers int
	// Weight among the others.
	Weight int
	// Clock is set where it needs a clock that can be changed.
	Clock bool
	// Do makes the fault and ends it.
	Do func(context.Context, *Env) error
}

// All faults.
func All() []Fault {
	var all []Fault
	for _, group := range [][]Fault{processes, networks, disks, operators} {
		all = append(all, group...)
	}
	return all
}

// For are the faults that a cluster can have.
func For(all []Fault, servers int, clock bool) []Fault {
	var out []Fault
	for _, f := range all {
		if f.Servers <= servers && (clock || !f.Clock) {
			out = append(out, f)
		}
	}
	return out
}

// Run makes faults one after the other until ctx ends. The last one is ended too.
func Run(ctx context.Context, e *Env, faults []Fault) error {
	total := 0
	for _, f := range faults {
		total += f.Weight
	}
	for {
		if !pause(ctx, e.between(300*time.Millisecond, 2*time.Second)) {
			return nil
		}
		n := e.Rand.IntN(total)
		for _, f := range faults {
			if n -= f.Weight; n >= 0 {
				continue
			}
			e.Note(f.Name)
			if err := f.Do(context.WithoutCancel(ctx), e); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			e.Note(f.Name + " is over")
			break
		}
	}
}

// pause waits; false means that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *Env) between(low, high time.Duration) time.Duration {
	return low + time.Duration(e.Rand.Int64N(int64(high-low)))
}

// hold keeps a fault for a while.
func (e *Env) hold(ctx context.Context, low, high time.Duration) {
	pause(ctx, e.between(low, high))
}

// one chooses a server: in every second case the one that leads, if it can be told.
func (e *Env) one(ctx context.Context) *cluster.Server {
	either := e.Cluster.Servers[e.Rand.IntN(len(e.Cluster.Servers))]
	if e.Rand.IntN(2) == 0 {
		return either
	}
	if leader := e.Cluster.Leader(ctx); leader != nil {
		return leader
	}
	return either
}

// allReady waits until every server is.
func (e *Env) allReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	for _, s := range e.Cluster.Servers {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}
