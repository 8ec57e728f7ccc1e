package remote

import (
	"context"
	"sync"
)

// Leave is for who is about to stop the process that is attached: new calls are refused with
// 503, those that are under way end where they began. [Bundle.Drain] waits for them.
func (b *Bundle) Leave() {
	if s := b.stream.Swap(nil); s != nil {
		b.retire(s)
	}
}

// retire lets the calls end that are under way on a stream that gets no more of them.
func (b *Bundle) retire(s *hookCalls) {
	b.retiring.begin()
	go func() {
		defer b.retiring.end()
		ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
		defer cancel()
		s.Finish(ctx)
	}()
}

// retirees counts what is coming to an end, while more may begin to.
type retirees struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // made when somebody waits, closed when there are none
}

func (r *retirees) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

func (r *retirees) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// wait returns when there are none, or with ctx.
func (r *retirees) wait(ctx context.Context) {
	r.mu.Lock()
	if r.n == 0 {
		r.mu.Unlock()
		return
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
