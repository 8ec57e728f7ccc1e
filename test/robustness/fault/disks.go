package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

var disks = []Fault{
	{Name: "slow disk", Servers: 1, Weight: 2, Do: slowDisk},
	{Name: "nearly full disk", Servers: 1, Weight: 2, Do: nearlyFull},
	{Name: "full disk", Servers: 1, Weight: 1, Do: full},
	{Name: "failing fsync", Servers: 1, Weight: 1, Do: failingFsync},
	{Name: "power failure", Servers: 1, Weight: 4, Do: powerFailure},
	{Name: "power failure while starting", Servers: 1, Weight: 2, Do: powerFailureWhileStarting},
	{Name: "power failure of all", Servers: 1, Weight: 3, Do: powerFailureOfAll},
}

// diskFor gives a disk faults for a while.
func (e *Env) diskFor(ctx context.Context, s *cluster.Server, f cluster.DiskFaults) error {
	e.Note(fmt.Sprintf("disk of %s: %+v", s.Name, f))
	if err := s.Disk.Set(f); err != nil {
		return err
	}
	e.hold(ctx, time.Second, 5*time.Second)
	return s.Disk.Set(cluster.Healthy)
}

func slowDisk(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	err := e.diskFor(ctx, s, cluster.DiskFaults{Free: -1, Fsync: e.between(20*time.Millisecond, time.Second)})
	return errors.Join(err, e.allReady(ctx))
}

// nearlyFull is a disk with less room than a server keeps in reserve: it has to go on.
func nearlyFull(ctx context.Context, e *Env) error {
	err := e.diskFor(ctx, e.one(ctx), cluster.DiskFaults{Free: 16 << 20})
	return errors.Join(err, e.allReady(ctx))
}

// full fails writes. A server may end of that; it has to start again when there is room.
func full(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	s.MayEnd()
	err := e.diskFor(ctx, s, cluster.DiskFaults{Free: 0})
	return errors.Join(err, e.revive(ctx, s))
}

// failingFsync fails fsyncs. Nobody may believe in a second fsync that succeeds.
func failingFsync(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	s.MayEnd()
	err := e.diskFor(ctx, s, cluster.DiskFaults{Free: -1, FailFsync: true})
	return errors.Join(err, e.revive(ctx, s))
}

// revive starts a server that a broken disk may have ended, or that is of no use since.
func (e *Env) revive(ctx context.Context, s *cluster.Server) error {
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	return errors.Join(s.Start(), e.allReady(ctx))
}

// crash takes the power of a server.
func (e *Env) crash(s *cluster.Server) error {
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	return e.lose(s)
}

// lose takes back what a server that has ended had not synced.
func (e *Env) lose(s *cluster.Server) error {
	e.Forgot(s)
	lose := []float64{0.1, 0.5, 0.9, 1}[e.Rand.IntN(4)]
	r, err := s.Disk.PowerFailure(e.Rand.Uint64(), lose)
	e.Note(fmt.Sprintf("power failure of %s: lost %d of %d blocks and %d of %d changes of folders",
		s.Name, r.LostBlocks, r.Blocks, r.LostEntries, r.Entries))
	return err
}

func powerFailure(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	if err := e.crash(s); err != nil {
		return err
	}
	e.hold(ctx, 0, 2*time.Second)
	return errors.Join(s.Start(), e.allReady(ctx))
}

// powerFailureWhileStarting takes the power again before what the first failure left is put
// in order.
func powerFailureWhileStarting(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	for range 2 + e.Rand.IntN(2) {
		if err := e.crash(s); err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return err
		}
		e.hold(ctx, 20*time.Millisecond, 600*time.Millisecond)
	}
	return e.allReady(ctx)
}

func powerFailureOfAll(ctx context.Context, e *Env) error {
	for _, s := range e.Cluster.Servers {
		if err := s.End(syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, s := range e.Cluster.Servers {
		if err := e.lose(s); err != nil {
			return err
		}
	}
	return e.startAll(ctx)
}
