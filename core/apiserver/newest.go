package apiserver

import (
	"context"
	"fmt"
	"net/http"

	"github.com/pintle-dev/pintle/core/store"
)

// A server that does not lead may be behind, and one that has just lost the lead may not
// know it. The store checks what it is asked to write; what is judged by the state here is
// made sure of here.

// Newest makes the local state the newest; *store.Store implements it.
type Newest interface {
	// Barrier is called before reads that ask for the newest state.
	Barrier(ctx context.Context) error
	// CatchUp is called before changes, which are judged by the local state.
	CatchUp(ctx context.Context) (store.Standing, error)
	// Confirm is called where such a judgement is answered without a guarded write. It fails
	// where the state since CatchUp was not the newest.
	Confirm(ctx context.Context, at store.Standing) error
}

// dispatch calls what answers the verb, with the newest state to judge changes by.
func (q *request) dispatch() error {
	switch q.route.verb {
	case "create", "update", "patch", "delete", "deletecollection":
	default:
		return q.dispatchVerb()
	}
	if newest := q.server.cfg.Newest; newest != nil {
		at, err := newest.CatchUp(q.ctx)
		if err != nil {
			return fmt.Errorf("wait for the newest state: %w", err)
		}
		q.standing = at
	}
	err := q.dispatchVerb()
	if err != nil && byState(err) {
		if unsure := q.sure(q.ctx); unsure != nil {
			return unsure
		}
	}
	return err
}

// sure fails where what this request has found since it was dispatched may not have been the
// newest state.
func (q *request) sure(ctx context.Context) error {
	if q.server.cfg.Newest == nil {
		return nil
	}
	if err := q.server.cfg.Newest.Confirm(ctx, q.standing); err != nil {
		return fmt.Errorf("wait for the newest state: %w", err)
	}
	return nil
}

// byState says whether a refusal is one that another state might not have caused.
func byState(err error) bool {
	switch toStatus(err).Code {
	case http.StatusNotFound, http.StatusConflict, http.StatusForbidden, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
