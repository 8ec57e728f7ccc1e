package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/store/internal/command"
	"github.com/pintle-dev/pintle/core/store/internal/fsm"
)

// Bounds of one transaction, which travels in one log entry.
const (
	MaxTransactionWrites = 1000
	MaxTransactionBytes  = MaxObjectBytes
)

// Refused is the error of a transaction of which nothing was applied because of guards that
// did not hold. It wraps the errors of all writes.
type Refused struct {
	// Errors has one error for each write: ErrConflict, ErrExists or ErrNotFound, and
	// ErrWithheld for those against which nothing spoke.
	Errors []error
}

// Error implements error.
func (r *Refused) Error() string {
	var causes []string
	for _, err := range r.Errors {
		if !errors.Is(err, ErrWithheld) {
			causes = append(causes, err.Error())
		}
	}
	return fmt.Sprintf("transaction of %d writes: nothing was applied: %s", len(r.Errors), strings.Join(causes, "; "))
}

// Unwrap lets errors.Is find what refused the transaction.
func (r *Refused) Unwrap() []error { return r.Errors }

// Transact proposes writes of different objects that are applied together or not at all: all
// guards are checked against the state before the first of them. They get consecutive
// revisions in their order and become visible at once; nobody reads a state between them. It
// returns the objects as Write does; of a check only the revision that the object has.
//
// Where guards do not hold the error is a *Refused. The other errors are those of Write.
func (s *Store) Transact(ctx context.Context, writes []Write) ([]Object, error) {
	entry, err := s.encodeTransaction(ctx, writes)
	if err != nil {
		return nil, fmt.Errorf("transaction of %d writes: %w", len(writes), err)
	}
	if len(writes) == 0 {
		return nil, nil
	}
	response, err := s.proposeEntry(ctx, entry)
	if err != nil {
		return nil, fmt.Errorf("transaction of %d writes: %w", len(writes), err)
	}
	if len(response.Results) != len(writes) {
		return nil, fmt.Errorf("transaction of %d writes: %w: %d results", len(writes), ErrUnknownOutcome, len(response.Results))
	}
	return transacted(writes, response.Results)
}

// encodeTransaction checks what can be refused before anything is proposed and makes the
// entry.
func (s *Store) encodeTransaction(ctx context.Context, writes []Write) ([]byte, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	if len(writes) > MaxTransactionWrites {
		return nil, fmt.Errorf("%w: at most %d writes", ErrTooLarge, MaxTransactionWrites)
	}
	size, frees, keys := 0, true, make(map[Key]struct{}, len(writes))
	commands := make([]command.Write, len(writes))
	for i := range writes {
		w := &writes[i]
		if err := checkWrite(w); err != nil {
			return nil, fmt.Errorf("write of %s: %w", w.Key, err)
		}
		if _, twice := keys[w.Key]; twice {
			return nil, fmt.Errorf("%s is written twice", w.Key)
		}
		keys[w.Key] = struct{}{}
		var err error
		if commands[i], err = s.commandOf(ctx, w); err != nil {
			return nil, fmt.Errorf("write of %s: %w", w.Key, err)
		}
		size += commands[i].Size()
		frees = frees && (w.Delete || w.Check)
	}
	if size > MaxTransactionBytes+maxKeyBytes*len(writes) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxTransactionBytes)
	}
	if err := s.room.check(frees); err != nil {
		return nil, err
	}
	entry := command.BeginTransaction(make([]byte, 0, size+2))
	for i := range commands {
		entry = commands[i].Append(entry)
	}
	return entry, nil
}

// proposeEntry gets one whole entry agreed on and applied, by whoever leads. The entry is the
// callee's. Raft writes those that come together with one fsync.
func (s *Store) proposeEntry(ctx context.Context, entry []byte) (fsm.Response, error) {
	if err := ctx.Err(); err != nil {
		return fsm.Response{}, err
	}
	type answer struct {
		response fsm.Response
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		r, err := s.submit(ctx, entry)
		done <- answer{r, err}
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-ctx.Done():
	}
	// What was never sent is certain to have had no effect; submit says so at once.
	wait := time.NewTimer(askAgain)
	defer wait.Stop()
	select {
	case a := <-done:
		return a.response, a.err
	case <-wait.C:
		return fsm.Response{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
}

// transacted makes the answer to a transaction of its results.
func transacted(writes []Write, results []fsm.Result) ([]Object, error) {
	objects, errs, refused := make([]Object, len(writes)), make([]error, len(writes)), false
	for i := range results {
		key, r := writes[i].Key, &results[i]
		switch r.Outcome {
		case fsm.Done:
			objects[i] = Object{Key: key, Revision: r.Revision, Data: r.Value.Data()}
			continue
		case fsm.Withheld:
			errs[i] = fmt.Errorf("write of %s: %w", key, ErrWithheld)
		case fsm.NotFound:
			errs[i] = fmt.Errorf("write of %s: %w", key, ErrNotFound)
		case fsm.Exists:
			errs[i] = fmt.Errorf("write of %s: %w: it is at revision %d", key, ErrExists, r.Revision)
		case fsm.Conflict:
			errs[i] = fmt.Errorf("write of %s: %w: it is at revision %d", key, ErrConflict, r.Revision)
		default:
			errs[i] = fmt.Errorf("write of %s: %w: it is written twice", key, ErrConflict)
		}
		refused = true
	}
	if refused {
		return nil, &Refused{Errors: errs}
	}
	return objects, nil
}
