package calls

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrGone says that the stream has ended: the other end may or may not have done what it was
// asked for.
var ErrGone = errors.New("the stream of calls has ended")

// maxUnanswered is how many bytes of calls may be without an answer before callers leave it to
// another goroutine to send theirs: less than the window of a stream and than what a socket holds,
// in which sending does not block.
const maxUnanswered = 32 << 10

// maxOwed is how many bytes a stream may owe to calls that have no answer yet. Who asks for
// more and takes none of it would have all of it kept here: its stream ends.
const maxOwed = 256 << 20

// Stream is a stream as a [Client] uses it. S is what is sent, R a result.
type Stream[S, R any] struct {
	// Send sends one message. It is called by one goroutine at a time, and must not keep the
	// slice.
	Send func([]S) error
	// Recv returns the results in the next message, none where it had none, and what is to be done
	// with the rest of it, which may block; nil for nothing. One goroutine at a time receives.
	Recv func() (results []R, then func(), err error)
	// ID of the call that a result answers.
	ID func(R) uint64
	// Size is about the number of bytes that an item takes in a message.
	Size func(S) int
	// Context is the stream's, and tells whether it is a line.
	Context context.Context //nolint:containedctx // it says something about the stream
	// Cancel ends the stream: Send and Recv return errors then.
	Cancel context.CancelFunc
}

// Client is the calling end. C is what a caller keeps by its call while it runs, such as what
// the call may read.
type Client[S, R, C any] struct {
	stream Stream[S, R]
	out    sender[S]
	done   chan struct{}
	turns  turns

	mu         sync.Mutex
	lastID     uint64
	finishing  chan struct{} // closed when it is finishing and nothing is pending; nil before
	unanswered int
	pending    map[uint64]*pending[R, C]
	expiry     expiry
}

type pending[R, C any] struct {
	result chan answer[R]
	// deadline is zero for a call that only its context bounds.
	deadline time.Time
	keep     C
	size     int
	// left says that nobody waits any more. The entry stays until the answer comes, as
	// what was sent is not taken until then.
	left bool
}

// answer is what a caller gets.
type answer[R any] struct {
	result R
	late   bool // there is none, and time is over
}

// Open begins to receive. The client ends with its stream.
func Open[S, R, C any](s Stream[S, R]) *Client[S, R, C] {
	c := &Client[S, R, C]{stream: s, done: make(chan struct{}), pending: map[uint64]*pending[R, C]{}}
	c.out.send, c.out.size, c.out.failed = s.Send, s.Size, s.Cancel
	if line := lineOf(s.Context); line != nil {
		c.takeTurns(line)
	} else {
		go c.receiveAll()
	}
	return c
}

// Done is closed when the stream has ended.
func (c *Client[S, R, C]) Done() <-chan struct{} { return c.done }

// Close ends the stream and returns when it has ended. Calls that are under way fail.
func (c *Client[S, R, C]) Close() {
	c.stream.Cancel()
	<-c.done
}

// Call makes the call that build gives for an id, and waits for its result, but no longer than
// timeout where that is not 0: for who has no bound in ctx, as that costs a timer for each call.
// Its error is [ErrGone], [ErrFinishing], context.DeadlineExceeded, or that of ctx, as it ends.
func (c *Client[S, R, C]) Call(ctx context.Context, timeout time.Duration, keep C, build func(id uint64) S) (R, error) {
	p := &pending[R, C]{result: make(chan answer[R], 1), keep: keep}
	var none R
	c.mu.Lock()
	if c.finishing != nil {
		c.mu.Unlock()
		return none, ErrFinishing
	}
	c.lastID++
	id := c.lastID
	item := build(id)
	p.size = c.stream.Size(item)
	c.unanswered += p.size
	inline := c.unanswered <= maxUnanswered
	c.pending[id] = p
	c.bound(p, timeout)
	c.mu.Unlock()
	if !c.out.put(item, inline) {
		c.forget(id)
		return none, ErrGone
	}
	for {
		select {
		case a := <-p.result: // rather than anything else
			return a.get()
		default:
		}
		select {
		case a := <-p.result:
			return a.get()
		case <-ctx.Done():
			c.leave(id)
			return none, ctx.Err()
		case <-c.turns.free:
			c.receiveFor(ctx, p)
		case <-c.done:
			select {
			case a := <-p.result: // it came last
				return a.get()
			default:
				return none, ErrGone
			}
		}
	}
}

func (a answer[R]) get() (R, error) {
	if a.late {
		return a.result, context.DeadlineExceeded
	}
	return a.result, nil
}

// Put sends something for a call that is under way, such as the answer to a read.
func (c *Client[S, R, C]) Put(call uint64, item S) {
	c.mu.Lock()
	if p, ok := c.pending[call]; ok {
		n := c.stream.Size(item)
		p.size += n
		c.unanswered += n
	}
	over := c.unanswered > maxOwed
	c.mu.Unlock()
	if over {
		c.stream.Cancel()
		return
	}
	c.out.put(item, false)
}

// Kept returns what the caller of a running call keeps; false where nobody waits for it.
func (c *Client[S, R, C]) Kept(id uint64) (keep C, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, known := c.pending[id]; known && !p.left {
		return p.keep, true
	}
	return keep, false
}

func (c *Client[S, R, C]) leave(id uint64) {
	c.mu.Lock()
	if p, ok := c.pending[id]; ok {
		var none C
		p.left, p.keep = true, none
	}
	c.mu.Unlock()
	c.attend()
}

func (c *Client[S, R, C]) forget(id uint64) *pending[R, C] {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pending[id]
	if !ok {
		return nil
	}
	delete(c.pending, id)
	c.unanswered -= p.size
	c.finished()
	return p
}

// receiveAll receives until the stream ends.
func (c *Client[S, R, C]) receiveAll() {
	for {
		then, ok := c.receive()
		if !ok {
			return
		}
		if then != nil {
			then()
		}
	}
}

// receive takes a message in. It reports false where the stream has ended.
func (c *Client[S, R, C]) receive() (then func(), ok bool) {
	results, then, err := c.stream.Recv()
	if err != nil {
		c.stream.Cancel()
		c.out.close()
		c.unbound()
		close(c.done) // nobody receives after the last one has
		return nil, false
	}
	for _, r := range results {
		if p := c.forget(c.stream.ID(r)); p != nil && !p.left {
			p.result <- answer[R]{result: r} // has room: an id is forgotten once
		}
	}
	return then, true
}

// Waiting is the number of calls that have no answer yet.
func (c *Client[S, R, C]) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}
