package host

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// drainer is a holder that knows of calls under way on instances that are no longer the
// current one.
type drainer interface {
	// drain returns when all calls on earlier instances have ended, or with ctx.
	drain(ctx context.Context)
}

// leaver is a holder that can end its instance's part without ending the calls under way.
type leaver interface {
	// leave lets no call begin on the instance any more. Where it is for good, no other will
	// follow, and what would have been asked of it is not. detach follows.
	leave(forGood bool)
}

// end ends the instance, which died or is to end for the reason given: no call begins on it any
// more, and those that are under way, like its work, have their time.
func (i *instance) end(ctx context.Context, why error) {
	if ctx.Err() != nil {
		why = causeOr(ctx, why)
	}
	i.goes = goesForGood(why)
	i.leaveAll()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.grace(ctx))
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		i.drain(ctx)
	}()
	i.stopWork()
	<-drained
	i.detachAll()
	i.discard()
}

// grace is how long calls under way may take: with the end of the host not longer than what
// else has to stop.
func (i *instance) grace(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return min(i.host.config.DrainTimeout, i.host.config.StopTimeout)
	}
	return i.host.config.DrainTimeout
}

// leaveAll takes the instance away from callers who are connected with it, for calls that have
// not begun.
func (i *instance) leaveAll() {
	if i.withdraw != nil {
		i.withdraw()
	}
	for point, who := range i.attached {
		if l, ok := i.holders[point].(leaver); ok && who == i {
			l.leave(i.goes)
		}
	}
}

// drain returns when the calls under way on instances before the current one have ended, with
// the end of this one's process, or with ctx.
func (i *instance) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, i.host.config.DrainTimeout)
	defer cancel()
	if ended := i.guest.ended; ended != nil {
		go func() {
			select {
			case <-ended:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	for _, h := range i.holders {
		if d, ok := h.(drainer); ok {
			d.drain(ctx)
		}
	}
	i.calls.drain(ctx)
}

// underway counts calls that are made one by one to a process and have no answer yet, and those
// that other plugins make through the relay. Streams of calls are counted by who holds them.
type underway struct {
	mu    sync.Mutex
	calls int
	idle  chan struct{} // made when somebody waits, closed when there are none
}

func (u *underway) begin() {
	u.mu.Lock()
	u.calls++
	u.mu.Unlock()
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls--; u.calls == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// drain returns when there are no calls, or with ctx.
func (u *underway) drain(ctx context.Context) {
	u.mu.Lock()
	if u.calls == 0 {
		u.mu.Unlock()
		return
	}
	if u.idle == nil {
		u.idle = make(chan struct{})
	}
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// option makes a connection count.
func (u *underway) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ours := shortMethod(method); ours {
			u.begin()
			defer u.end()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// relayed counts a call that another plugin makes, where that is one with one answer: a stream
// may last as long as who reads it.
func (u *underway) relayed(method string) (end func()) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return func() {}
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return func() {}
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if m == nil || m.IsStreamingClient() || m.IsStreamingServer() {
		return func() {}
	}
	u.begin()
	return u.end
}
