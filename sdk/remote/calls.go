package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle-dev/pintle/sdk/internal/calls"
)

// ErrNoAnswer says that a plugin could not be asked, did not answer in time, or gave an answer
// that makes no sense. What that means is up to the caller's policy; it is never the plugin's
// own opinion.
var ErrNoAnswer = errors.New("no answer from the plugin")

// noAnswerError is ErrNoAnswer with what happened.
type noAnswerError struct{ err error }

func (e *noAnswerError) Error() string        { return e.err.Error() }
func (e *noAnswerError) Unwrap() error        { return e.err }
func (e *noAnswerError) Is(target error) bool { return target == ErrNoAnswer }

func noAnswer(format string, args ...any) error { return &noAnswerError{fmt.Errorf(format, args...)} }

// ask makes a call and waits for its result until the context's end.
func ask[S, R, C any](ctx context.Context, c *calls.Client[S, R, C], keep C, build func(id uint64, timeoutMS int64) S) (R, error) {
	var ms int64
	start := time.Now()
	if deadline, ok := ctx.Deadline(); ok {
		ms = max(1, time.Until(deadline).Milliseconds())
	}
	r, err := c.Call(ctx, 0, keep, func(id uint64) S { return build(id, ms) })
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, calls.ErrGone):
		return r, noAnswer("it stopped while it was handling the request")
	case errors.Is(err, context.DeadlineExceeded):
		return r, noAnswer("it did not answer within %s: %w", time.Since(start).Round(time.Millisecond), err)
	default:
		return r, noAnswer("the request was given up: %w", err)
	}
}
