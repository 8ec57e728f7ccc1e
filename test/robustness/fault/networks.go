package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

var networks = []Fault{
	{Name: "one is cut off", Servers: 3, Weight: 3, Do: cutOff},
	{Name: "one hears nobody", Servers: 3, Weight: 2, Do: deaf},
	{Name: "nobody hears one", Servers: 3, Weight: 2, Do: mute},
	{Name: "two do not hear each other", Servers: 3, Weight: 2, Do: bridge},
	{Name: "all are cut off from each other", Servers: 3, Weight: 1, Do: split},
	{Name: "cut off from clients too", Servers: 1, Weight: 1, Do: isolated},
	{Name: "cut off and killed", Servers: 3, Weight: 2, Do: cutOffAndKilled},
	{Name: "flapping", Servers: 3, Weight: 1, Do: flapping},
}

// others than i.
func (e *Env) others(i int) []int {
	var out []int
	for n := range e.Cluster.Servers {
		if n != i {
			out = append(out, n)
		}
	}
	return out
}

// cutFor cuts for a while and heals.
func (e *Env) cutFor(ctx context.Context, drop map[int][]int) error {
	e.Note(fmt.Sprintf("cut %v", drop))
	if err := e.Cluster.Network.Cut(drop); err != nil {
		return err
	}
	e.hold(ctx, 500*time.Millisecond, 6*time.Second)
	e.Note("healed")
	if err := e.Cluster.Network.Cut(nil); err != nil {
		return err
	}
	if e.Rand.IntN(3) == 0 {
		return nil
	}
	return e.allReady(ctx)
}

func (e *Env) around(i int) map[int][]int {
	drop := map[int][]int{i: e.others(i)}
	for _, o := range e.others(i) {
		drop[o] = []int{i}
	}
	return drop
}

func cutOff(ctx context.Context, e *Env) error { return e.cutFor(ctx, e.around(e.one(ctx).Index)) }

func deaf(ctx context.Context, e *Env) error {
	i := e.one(ctx).Index
	return e.cutFor(ctx, map[int][]int{i: e.others(i)})
}

func mute(ctx context.Context, e *Env) error {
	i := e.one(ctx).Index
	drop := e.around(i)
	delete(drop, i)
	return e.cutFor(ctx, drop)
}

func bridge(ctx context.Context, e *Env) error {
	i := e.one(ctx).Index
	o := e.others(i)[e.Rand.IntN(len(e.Cluster.Servers)-1)]
	return e.cutFor(ctx, map[int][]int{i: {o}, o: {i}})
}

func split(ctx context.Context, e *Env) error {
	drop := map[int][]int{}
	for i := range e.Cluster.Servers {
		drop[i] = e.others(i)
	}
	return e.cutFor(ctx, drop)
}

func isolated(ctx context.Context, e *Env) error {
	i := e.one(ctx).Index
	drop := e.around(i)
	drop[i] = append(drop[i], -1)
	return e.cutFor(ctx, drop)
}

// cutOffAndKilled lets a server work where nobody hears it, and kills it there.
func cutOffAndKilled(ctx context.Context, e *Env) error {
	s := e.one(ctx)
	if err := e.Cluster.Network.Cut(e.around(s.Index)); err != nil {
		return err
	}
	e.Note("cut off " + s.Name)
	e.hold(ctx, 100*time.Millisecond, 3*time.Second)
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	e.Note("killed " + s.Name)
	err := s.Start()
	e.hold(ctx, 0, 2*time.Second)
	return errors.Join(err, e.Cluster.Network.Cut(nil), e.allReady(ctx))
}

// flapping cuts and heals quickly, so that the lead changes hands often.
func flapping(ctx context.Context, e *Env) error {
	for range 3 + e.Rand.IntN(5) {
		if err := e.Cluster.Network.Cut(e.around(e.one(ctx).Index)); err != nil {
			return err
		}
		e.hold(ctx, 200*time.Millisecond, 1500*time.Millisecond)
		if err := e.Cluster.Network.Cut(nil); err != nil {
			return err
		}
		e.hold(ctx, 50*time.Millisecond, 500*time.Millisecond)
	}
	return e.allReady(ctx)
}
