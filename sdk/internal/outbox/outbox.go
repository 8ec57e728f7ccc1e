// Package outbox gathers what many goroutines want to send over one stream, so that a
// burst leaves in few messages. It knows nothing of what is sent.
package outbox

import "sync"

// Outbox is a queue with one reader that takes all there is at once. The zero value is
// ready.
type Outbox[T any] struct {
	mu     sync.Mutex
	items  []T
	wake   chan struct{}
	closed bool
}

func (o *Outbox[T]) channel() chan struct{} {
	if o.wake == nil {
		o.wake = make(chan struct{}, 1)
	}
	return o.wake
}

// Put queues an item. It reports whether the outbox is open.
func (o *Outbox[T]) Put(item T) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.items = append(o.items, item)
	select {
	case o.channel() <- struct{}{}:
	default:
	}
	return true
}

// Take waits until there is something or done is closed, and returns at most limit items
// in the order in which they were put. It returns nil once done is closed.
func (o *Outbox[T]) Take(done <-chan struct{}, limit int) []T {
	for {
		o.mu.Lock()
		wake := o.channel()
		if n := min(len(o.items), limit); n > 0 {
			out := o.items[:n:n]
			o.items = o.items[n:]
			o.mu.Unlock()
			return out
		}
		o.mu.Unlock()
		select {
		case <-wake:
		case <-done:
			return nil
		}
	}
}

// Close makes Put refuse. What was queued and not taken is dropped.
func (o *Outbox[T]) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.items = nil
}
