package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// driver is the first member of the store's side, asked to do work by itself: that is how the
// API server uses the store, which is a part of its process.
type driver struct {
	in  *json.Encoder
	out *json.Decoder
}

// order is what a driver is to do, drove what it did.
type order struct {
	Work     string        `json:"work"`
	InFlight int           `json:"inFlight"`
	Keys     int           `json:"keys"`
	Length   time.Duration `json:"length"`
	Objects  bool          `json:"objects"`
}

type drove struct {
	Ops       int             `json:"ops"`
	Elapsed   time.Duration   `json:"elapsed"`
	Latencies []time.Duration `json:"latencies"`
	Err       string          `json:"err,omitempty"`
}

// drive does what orders on its standard input say.
func drive(ctx context.Context, s *store.Store, in io.Reader, out io.Writer) error {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		got, err := closedLoop(ctx, o.InFlight, o.Length, func(ctx context.Context, worker int) func() error {
			return direct(ctx, s, &o, worker)
		})
		// A part of them tells as much, and there may be many.
		some := got.latencies[:0]
		for i := 0; i < len(got.latencies); i += 1 + len(got.latencies)/100_000 {
			some = append(some, got.latencies[i])
		}
		answer := drove{Ops: got.ops, Elapsed: got.elapsed, Latencies: some}
		if err != nil {
			answer.Err = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

// direct is what one worker does over and over, by the store's own functions.
func direct(ctx context.Context, s *store.Store, o *order, worker int) func() error {
	r := random(worker)
	switch o.Work {
	case "put":
		value := newValue(r, o.Objects)
		return func() error {
			binary.LittleEndian.PutUint64(value, r.Uint64())
			_, err := s.Write(ctx, store.Write{Key: store.Key(key(r.IntN(o.Keys))), Data: value, RevisionAt: -1, Expect: store.Any})
			return err
		}
	case "get":
		return func() error {
			if err := s.Barrier(ctx); err != nil {
				return err
			}
			_, err := s.Get(ctx, store.Key(key(r.IntN(o.Keys))))
			return err
		}
	default:
		return func() error {
			if err := s.Barrier(ctx); err != nil {
				return err
			}
			l, err := s.List(ctx, prefix, store.ListOptions{After: store.Key(key(r.IntN(o.Keys - pageObjects))), Limit: pageObjects})
			if err == nil && len(l.Objects) != pageObjects {
				err = fmt.Errorf("range: %d objects", len(l.Objects))
			}
			return err
		}
	}
}

// drive lets the first member work by itself. Its CPU has all that the work costs.
func (c *cluster) drive(ctx context.Context, work string, inflight, keys int, length time.Duration) (slice, error) {
	return c.measured(ctx, func() (slice, error) {
		if err := c.driver.in.Encode(order{work, inflight, keys, length, c.objects}); err != nil {
			return slice{}, err
		}
		var d drove
		if err := c.driver.out.Decode(&d); err != nil {
			return slice{}, fmt.Errorf("the store's first member: %w", err)
		}
		if d.Err != "" {
			return slice{}, errors.New(d.Err)
		}
		return slice{ops: d.Ops, elapsed: d.Elapsed, latencies: d.Latencies}, nil
	})
}

// ownCPU is what this process, the client of etcd, has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
