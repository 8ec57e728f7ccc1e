package calls

import (
	"sync/atomic"
	"time"
)

const (
	// longShift is how long a call may keep the goroutine that receives: others wait meanwhile.
	longShift = 2 * time.Millisecond
	// leastApart is how many calls get a goroutine of their own after one that took long, as they
	// may do so as well: twice as many each time, up to mostApart, until one takes no longer.
	leastApart, mostApart = 4, 256
)

// shift lets the goroutine that receives calls handle one itself, which spares waking another one
// for it, and hands its work over where the call takes long or waits for something to be received.
type shift struct {
	// handOver starts another goroutine that receives.
	handOver func()
	// state is the number of the call that the receiver handles or has handled last, even, plus
	// one while it does.
	state atomic.Uint64
	// A timer looks after calls while there are any, and not for each: setting one may wake a
	// thread.
	armed atomic.Bool
	seen  atomic.Uint64
	timer *time.Timer
	// toCome is how many calls are to come that get a goroutine of their own, penalty how many
	// there were the last time.
	toCome, penalty atomic.Int64
}

func newShift(handOver func()) *shift {
	s := &shift{handOver: handOver}
	s.timer = time.AfterFunc(time.Hour, s.look)
	s.timer.Stop()
	return s
}

// apart says that the next call is one of those that probably take long.
func (s *shift) apart() bool {
	if s.toCome.Load() <= 0 {
		return false
	}
	s.toCome.Add(-1)
	return true
}

// begin is called by the receiver before it handles a call.
func (s *shift) begin() (number uint64) {
	number = s.state.Load()&^1 + 2
	s.state.Store(number | 1)
	if !s.armed.Load() && s.armed.CompareAndSwap(false, true) {
		s.seen.Store(number | 1)
		s.timer.Reset(longShift)
	}
	return number
}

// end is called after that. It reports whether the caller is still the receiver.
func (s *shift) end(number uint64) bool {
	if !s.state.CompareAndSwap(number|1, number) {
		return false
	}
	if s.penalty.Load() > 0 {
		s.penalty.Store(0)
	}
	return true
}

// leave hands over where a call is being handled by the receiver.
func (s *shift) leave() {
	if state := s.state.Load(); state&1 == 1 {
		s.leaveAt(state)
	}
}

func (s *shift) leaveAt(state uint64) {
	if s.state.CompareAndSwap(state, state&^1) {
		s.handOver()
	}
}

func (s *shift) look() {
	state := s.state.Load()
	if state&1 == 1 {
		if state == s.seen.Load() {
			n := min(max(leastApart, 2*s.penalty.Load()), mostApart)
			s.penalty.Store(n)
			s.toCome.Store(n)
			s.leaveAt(state)
		}
		s.seen.Store(state)
		s.timer.Reset(longShift)
		return
	}
	s.armed.Store(false)
	if s.state.Load()&1 == 1 && s.armed.CompareAndSwap(false, true) { // begun just now
		s.timer.Reset(longShift)
	}
}

// stop is called when there will be no more calls.
func (s *shift) stop() { s.timer.Stop() }
