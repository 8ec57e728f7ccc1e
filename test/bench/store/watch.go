package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// pending is a put whose event some watchers have yet to see.
type pending struct {
	left atomic.Int32
	seen chan struct{}
}

// watch measures events: a hundred watchers of one prefix, and writers each of which goes
// on when every watcher has seen its put, so that no backlog hides what an event costs.
// One operation is one event at one watcher.
func (c *cluster) watch(ctx context.Context, inflight int, length time.Duration) (slice, error) {
	began := time.Now()
	puts := make([]pending, inflight)
	for i := range puts {
		puts[i].seen = make(chan struct{}, 1)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	took := make([][]time.Duration, watchers)
	errs := make([]error, watchers)
	var wg sync.WaitGroup
	for i := range watchers {
		events := c.clients[i%len(c.clients)].Watch(watching, watched, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		created, ok := <-events
		if !ok || !created.Created {
			stop()
			wg.Wait()
			return slice{}, fmt.Errorf("watcher %d was not created: %w", i, created.Err())
		}
		wg.Go(func() { took[i], errs[i] = follow(watching, events, began, puts) })
	}
	s, err := c.measured(ctx, func() (slice, error) {
		return closedLoop(ctx, inflight, length, func(ctx context.Context, worker int) func() error {
			return c.watchedPut(ctx, worker, inflight, began, &puts[worker])
		})
	})
	stop()
	wg.Wait()
	s.ops *= watchers
	s.latencies = nil
	for _, t := range took {
		s.latencies = append(s.latencies, t...)
	}
	return s, errors.Join(err, errors.Join(errs...))
}

// watchedPut writes and waits for the watchers. The value says who wrote it and when.
func (c *cluster) watchedPut(ctx context.Context, worker, inflight int, began time.Time, p *pending) func() error {
	client, value := c.client(worker, inflight), c.newValue(random(worker))
	name := fmt.Sprintf("%sobject-%06d", watched, worker)
	binary.LittleEndian.PutUint64(value[8:], uint64(worker))
	return func() error {
		p.left.Store(watchers)
		binary.LittleEndian.PutUint64(value, uint64(time.Since(began)))
		if _, err := client.Put(ctx, name, string(value)); err != nil {
			return err
		}
		select {
		case <-p.seen:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%d of %d watchers have not seen a put: %w", p.left.Load(), watchers, ctx.Err())
		}
	}
}

// follow takes one watcher's events.
func follow(ctx context.Context, events clientv3.WatchChan, began time.Time, puts []pending) ([]time.Duration, error) {
	var took []time.Duration
	for r := range events {
		if err := r.Err(); err != nil && ctx.Err() == nil {
			return took, fmt.Errorf("watch: %w", err)
		}
		now := time.Since(began)
		for _, ev := range r.Events {
			took = append(took, now-time.Duration(binary.LittleEndian.Uint64(ev.Kv.Value)))
			p := &puts[binary.LittleEndian.Uint64(ev.Kv.Value[8:])]
			if p.left.Add(-1) == 0 {
				p.seen <- struct{}{}
			}
		}
	}
	return took, nil
}
