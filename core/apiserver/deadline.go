package apiserver

import (
	"context"
	"net/http"
	"time"
)

// Clients that send their body or take their answer slowly, or not at all, hold what their
// request holds: a place among those in flight, a seat of flow control. They have the time of
// a request for it, as upstream has it, and not the time of a connection.

// takeGrace is how long after a request's time its answer may still be on its way: a request
// that ends by its time has an answer that says so.
const takeGrace = 5 * time.Second

// bufferedBytes of an answer are taken by net/http whether or not the client takes them.
const bufferedBytes = 4 << 10

// whenOver runs f when ctx ends. The function it returns keeps f from running, waits for it
// where it has begun, and reports whether it has run. Nothing of a request may be touched
// once its handler has returned.
func whenOver(ctx context.Context, f func()) (release func() (ran bool)) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() bool {
		if stop() {
			return false
		}
		<-done
		return true
	}
}

// boundReads ends reads of a request's body when ctx ends.
func boundReads(ctx context.Context, w http.ResponseWriter) (release func()) {
	free := whenOver(ctx, func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) })
	// A connection whose body was not read is not used again.
	return func() { free() }
}

// boundWrites ends writes of an answer some time after ctx has ended.
func boundWrites(ctx context.Context, w http.ResponseWriter, grace time.Duration) (release func()) {
	free := whenOver(ctx, func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(grace)) })
	return func() {
		if free() {
			// The next request may come by the same connection.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		}
	}
}

// boundAnswer is boundWrites for an answer that is more than net/http takes.
func (q *request) boundAnswer() (release func()) {
	if q.route.verb == "get" { // which has no deadline
		return q.server.bounded(q.w, q.r)
	}
	return boundWrites(q.ctx, q.w, min(takeGrace, q.server.cfg.Limits.RequestTimeout))
}

// bounded gives the answer to a request that has no deadline the time of a request.
func (s *Server) bounded(w http.ResponseWriter, r *http.Request) (release func()) {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Limits.RequestTimeout)
	free := boundWrites(ctx, w, 0)
	return func() {
		free()
		cancel()
	}
}
