package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// openings are what guests have opened for this host, which lasts for as long as a stream to
// them does: one of each guest, of which there are two while one takes over from another.
type openings[T any] struct {
	mu      sync.Mutex
	of      map[*guest]*opening[T]
	current *guest
}

type opening[T any] struct {
	value T
	life  context.Context //nolint:containedctx // it is what lasts
	end   context.CancelFunc
	gone  <-chan struct{}
}

// attach returns what g has opened, or opens it. What another guest has open stays so until
// that guest ends, so that calls which are under way can be finished; but for one that is
// linked in, which never does.
func (o *openings[T]) attach(
	ctx context.Context, g *guest, timeout time.Duration, failed chan<- error,
	open func(life context.Context) (value T, gone <-chan struct{}, err error),
) (T, error) {
	o.mu.Lock()
	if have := o.of[g]; have != nil && have.life.Err() == nil {
		o.current = g
		o.mu.Unlock()
		return have.value, nil
	}
	before := o.of[o.current]
	o.mu.Unlock()
	if before != nil && g.client == nil {
		before.close()
	}
	life, end := context.WithCancel(ctx)
	patience := time.AfterFunc(timeout, end)
	value, gone, err := open(life)
	if !patience.Stop() && ctx.Err() == nil {
		err = fmt.Errorf("it did not answer within %s", timeout)
	}
	if err != nil {
		end()
		return value, err
	}
	now := &opening[T]{value: value, life: life, end: end, gone: gone}
	o.mu.Lock()
	if o.of == nil {
		o.of = map[*guest]*opening[T]{}
	}
	o.of[g], o.current = now, g
	o.mu.Unlock()
	go func() {
		<-gone
		unexpected := life.Err() == nil
		end()
		o.mu.Lock()
		if o.of[g] == now {
			delete(o.of, g)
		}
		unexpected = unexpected && o.current == g
		o.mu.Unlock()
		if unexpected {
			failed <- errors.New("it no longer does what it was opened for")
		}
	}()
	return value, nil
}

// detach ends what the guest that was attached last has opened.
func (o *openings[T]) detach() {
	o.mu.Lock()
	now := o.of[o.current]
	o.current = nil
	o.mu.Unlock()
	if now != nil {
		now.close()
	}
}

// close ends it and returns when it has ended.
func (o *opening[T]) close() {
	o.end()
	<-o.gone
}
