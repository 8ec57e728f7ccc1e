package calls

import "time"

// expiry is the one timer for the deadlines of all calls of a client. It is set when there is none
// and runs out at the deadline that was then the first: while calls are answered in time it runs
// out once in a timeout, and nothing has to be done.
type expiry struct {
	timer *time.Timer
	next  time.Time // when it runs out; zero where it is not set
}

// bound sets a call's deadline. It is called with the lock held.
func (c *Client[S, R, C]) bound(p *pending[R, C], timeout time.Duration) {
	if timeout <= 0 {
		return
	}
	p.deadline = time.Now().Add(timeout)
	e := &c.expiry
	if !e.next.IsZero() && !p.deadline.Before(e.next) {
		return
	}
	e.next = p.deadline
	if e.timer == nil {
		e.timer = time.AfterFunc(timeout, c.expire)
	} else {
		e.timer.Reset(timeout)
	}
}

// expire tells those who have waited for as long as they wanted to.
func (c *Client[S, R, C]) expire() {
	defer c.attend() // to what comes later than it was waited for
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	e := &c.expiry
	e.next = time.Time{}
	for _, p := range c.pending {
		switch {
		case p.left || p.deadline.IsZero():
		case !p.deadline.After(now):
			var none C
			p.left, p.keep = true, none
			p.result <- answer[R]{late: true} // has room: nobody else gives a result to who was left
		case e.next.IsZero() || p.deadline.Before(e.next):
			e.next = p.deadline
		}
	}
	if !e.next.IsZero() {
		e.timer.Reset(e.next.Sub(now))
	}
}

// unbound stops the timer: the stream has ended, and with it all calls.
func (c *Client[S, R, C]) unbound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry.timer != nil {
		c.expiry.timer.Stop()
	}
}
