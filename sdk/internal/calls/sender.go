package calls

import "sync"

// Bounds of one message.
const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
)

// sender sends what many goroutines put, in the order in which they do, a batch at a time. One
// goroutine sends at a time: whoever finds nobody sending.
type sender[T any] struct {
	// send sends one message. Its error ends the sender.
	send func([]T) error
	// size is about the number of bytes that an item takes in a message.
	size func(T) int
	// failed is called once, when send has failed.
	failed func()

	mu     sync.Mutex
	queue  []T
	busy   bool
	closed bool
	idle   sync.Cond // L is &mu
	spare  []T
}

// put queues an item. Where inline is set, the caller may be the one who sends, which is the
// fastest, and may block it for as long as the other end takes nothing. It reports whether
// the sender is open.
func (s *sender[T]) put(item T, inline bool) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.queue = append(s.queue, item)
	if s.busy {
		s.mu.Unlock()
		return true
	}
	s.busy = true
	if !inline {
		s.mu.Unlock()
		go s.drain()
		return true
	}
	batch := s.take()
	s.mu.Unlock()
	if s.deliver(batch) {
		go s.drain() // others have put theirs meanwhile; the caller has its own to wait for
	}
	return true
}

// take returns what fits into one message. mu is held.
func (s *sender[T]) take() []T {
	n, bytes := 0, 0
	for n < len(s.queue) && n < maxBatch {
		if bytes += s.size(s.queue[n]); n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	if n == len(s.queue) {
		batch := s.queue
		s.queue, s.spare = s.spare[:0], nil
		return batch
	}
	batch := append([]T(nil), s.queue[:n]...)
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return batch
}

// deliver sends a batch and reports whether there is more to send.
func (s *sender[T]) deliver(batch []T) bool {
	err := s.send(batch)
	clear(batch)
	s.mu.Lock()
	if s.spare == nil && cap(batch) <= maxBatch {
		s.spare = batch[:0]
	}
	first := err != nil && !s.closed
	if err != nil {
		s.closed = true
	}
	if s.closed {
		s.queue = nil
	}
	more := len(s.queue) > 0
	if !more {
		s.busy = false
		s.wake()
	}
	s.mu.Unlock()
	if first {
		s.failed()
	}
	return more
}

func (s *sender[T]) drain() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.busy = false
			s.wake()
			s.mu.Unlock()
			return
		}
		batch := s.take()
		s.mu.Unlock()
		if !s.deliver(batch) {
			return
		}
	}
}

func (s *sender[T]) wake() {
	if s.idle.L != nil {
		s.idle.Broadcast()
	}
}

// close makes put refuse and drops what has not been taken.
func (s *sender[T]) close() {
	s.mu.Lock()
	s.closed, s.queue = true, nil
	s.mu.Unlock()
}

// wait returns when nobody is sending.
func (s *sender[T]) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle.L == nil {
		s.idle.L = &s.mu
	}
	for s.busy {
		s.idle.Wait()
	}
}
