// Package follow keeps what a part of the server holds in memory of a bucket as the store
// has it: it reads the bucket, follows its events, and reads it again where their history is
// gone. It must not know what the objects are.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// Store is what is followed; *store.Store implements it.
type Store interface {
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
}

// Index is what is kept. Its methods are called by one goroutine for each bucket.
type Index interface {
	// Put takes an object as it is now. data is shared and must not be changed.
	Put(key store.Key, data []byte, revision uint64)
	// Remove forgets an object that is gone.
	Remove(key store.Key)
	// Keys of the bucket that have been put and not been removed.
	Keys() []store.Key
}

// retryDelay is the pause after a failed read of the store.
const retryDelay = 200 * time.Millisecond

// Bucket keeps index as the bucket is until ctx ends or the store is closed. It calls
// synced, which may be nil, each time index has become as the bucket was at a revision, and
// after each batch of events.
func Bucket(ctx context.Context, s Store, bucket string, index Index, synced func(revision uint64), log *slog.Logger) {
	if synced == nil {
		synced = func(uint64) {}
	}
	for ctx.Err() == nil {
		err := read(ctx, s, store.Key(bucket+"/"), index, synced)
		switch {
		case errors.Is(err, store.ErrCompacted):
			continue // history is gone: read everything again
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return
		}
		log.Warn("following objects failed; trying again", "bucket", bucket, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}

// read lists a bucket and then applies its events until one can't be had.
func read(ctx context.Context, s Store, prefix store.Key, index Index, synced func(uint64)) error {
	list, err := s.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	present := make(map[store.Key]bool, len(list.Objects))
	for _, o := range list.Objects {
		present[o.Key] = true
		index.Put(o.Key, o.Data, o.Revision)
	}
	for _, key := range index.Keys() {
		if !present[key] {
			index.Remove(key)
		}
	}
	synced(list.Revision)
	w, err := s.Watch(ctx, prefix, list.Revision)
	if err != nil {
		return fmt.Errorf("watch %s: %w", prefix, err)
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		for _, e := range events {
			if e.Type == store.Deleted {
				index.Remove(e.Key)
			} else {
				index.Put(e.Key, e.Data, e.Revision)
			}
		}
		if n := len(events); n > 0 {
			synced(events[n-1].Revision)
		}
	}
}
