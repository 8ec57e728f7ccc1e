package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pintle-dev/pintle/test/bench/store/measure"
)

const (
	prefix      = "bench/default/"
	watched     = "watched/default/"
	valueBytes  = 1024
	pageObjects = 500
	watchers    = 100
	opTimeout   = 30 * time.Second
)

// slice is what one stretch of one work gave on one side.
type slice struct {
	ops     int
	elapsed time.Duration
	cpu     time.Duration
	// client is what the client used, where it is a process of its own.
	client time.Duration
	// latencies of single operations; of a watch, from the begin of the put to the event.
	latencies []time.Duration
	// entries that the log has grown by.
	entries uint64
	// pss is the servers' memory at the end.
	pss int64
}

func (s *slice) add(o slice) {
	s.ops += o.ops
	s.elapsed += o.elapsed
	s.cpu += o.cpu
	s.client += o.client
	s.entries += o.entries
	s.latencies = append(s.latencies, o.latencies...)
}

// client is the connection of one of many in flight: each connection carries a few, as
// kube-apiserver's do.
func (c *cluster) client(worker, inflight int) *clientv3.Client {
	return c.clients[worker%min(max(inflight/16, 1), len(c.clients))]
}

func key(i int) string { return fmt.Sprintf("%sobject-%06d", prefix, i) }

// newValue is 1 KiB that does not compress, or that does as objects do.
func (c *cluster) newValue(r *rand.Rand) []byte { return newValue(r, c.objects) }

func newValue(r *rand.Rand, objects bool) []byte {
	v := make([]byte, 0, valueBytes+256)
	if objects {
		for len(v) < valueBytes {
			v = fmt.Appendf(v, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-%x","namespace":"default","uid":"%016x",`+
				`"labels":{"app":"web"}},"status":{"phase":"Running","podIP":"10.1.%d.%d"}}`, r.Uint32(), r.Uint64(), r.IntN(256), r.IntN(256))
		}
		return v[:valueBytes]
	}
	v = v[:valueBytes]
	for i := 0; i < len(v); i += 8 {
		binary.LittleEndian.PutUint64(v[i:], r.Uint64())
	}
	return v
}

func random(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(worker), uint64(time.Now().UnixNano())))
}

// preload writes every key once.
func (c *cluster) preload(ctx context.Context, keys int) error {
	var next atomic.Int64
	errs := make([]error, 64)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			r, client := random(w), c.client(w, len(errs))
			for i := next.Add(1) - 1; i < int64(keys) && errs[w] == nil; i = next.Add(1) - 1 {
				_, errs[w] = client.Put(ctx, key(int(i)), string(c.newValue(r)))
			}
		})
	}
	wg.Wait()
	if err := first(errs); err != nil {
		return fmt.Errorf("loading %s: %w", c.name, err)
	}
	return nil
}

// works are the kinds of work in the order of the report.
var works = []string{"put", "get", "range", "watch"}

// do runs one work with so many in flight for a while.
func (c *cluster) do(ctx context.Context, work string, inflight, keys int, length time.Duration) (slice, error) {
	if work == "watch" {
		return c.watch(ctx, inflight, length)
	}
	return c.measured(ctx, func() (slice, error) {
		return closedLoop(ctx, inflight, length, func(ctx context.Context, worker int) func() error {
			return c.operation(ctx, work, worker, inflight, keys)
		})
	})
}

// operation makes what one worker does over and over.
func (c *cluster) operation(ctx context.Context, work string, worker, inflight, keys int) func() error {
	client, r := c.client(worker, inflight), random(worker)
	switch work {
	case "put":
		value := c.newValue(r)
		return func() error {
			binary.LittleEndian.PutUint64(value, r.Uint64())
			_, err := client.Put(ctx, key(r.IntN(keys)), string(value))
			return err
		}
	case "get":
		return func() error {
			got, err := client.Get(ctx, key(r.IntN(keys)))
			if err == nil && (len(got.Kvs) != 1 || len(got.Kvs[0].Value) != valueBytes) {
				err = fmt.Errorf("get: %d objects", len(got.Kvs))
			}
			return err
		}
	default:
		end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))
		return func() error {
			from := key(r.IntN(keys-pageObjects)) + "\x00"
			got, err := client.Get(ctx, from, end, clientv3.WithLimit(pageObjects))
			if err == nil && len(got.Kvs) != pageObjects {
				err = fmt.Errorf("range from %q: %d objects", from, len(got.Kvs))
			}
			return err
		}
	}
}

// measured adds to a slice what the servers used meanwhile.
func (c *cluster) measured(ctx context.Context, run func() (slice, error)) (slice, error) {
	index, err := c.raftIndex(ctx)
	if err != nil {
		return slice{}, err
	}
	before, err := measure.CPU(c.pids...)
	if err != nil {
		return slice{}, err
	}
	own := ownCPU()
	s, err := run()
	if err != nil {
		return slice{}, err
	}
	s.client = ownCPU() - own
	after, err := measure.CPU(c.pids...)
	if err != nil {
		return slice{}, err
	}
	s.cpu = after - before
	now, err := c.raftIndex(ctx)
	s.entries = now - index
	return s, err
}

// closedLoop lets workers repeat an operation until the time is over.
func closedLoop(ctx context.Context, workers int, length time.Duration,
	operation func(ctx context.Context, worker int) func() error,
) (slice, error) {
	ctx, cancel := context.WithTimeout(ctx, length+opTimeout)
	defer cancel()
	took := make([][]time.Duration, workers)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			op := operation(ctx, w)
			for {
				begin := time.Now()
				if begin.Sub(start) >= length {
					return
				}
				if errs[w] = op(); errs[w] != nil {
					return
				}
				took[w] = append(took[w], time.Since(begin))
			}
		})
	}
	wg.Wait()
	s := slice{elapsed: time.Since(start)}
	for _, t := range took {
		s.ops += len(t)
		s.latencies = append(s.latencies, t...)
	}
	return s, first(errs)
}

// first is one error where workers fail together: the others say the same.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
