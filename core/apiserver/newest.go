package apiserver

import (
	"context"
	"fmt"
	"net/http"
)

// A server that does not lead may be behind, and one that has just lost the lead may not
// know it. The store checks what it is asked to write; what is judged by the state here is
// made sure of here.

// dispatch calls what answers the verb, with the newest state to judge changes by.
func (q *request) dispatch() error {
	switch q.route.verb {
	case "create", "update", "patch", "delete", "deletecollection":
	default:
		return q.dispatchVerb()
	}
	if catchUp := q.server.cfg.CatchUp; catchUp != nil {
		if err := catchUp(q.ctx); err != nil {
			return fmt.Errorf("wait for the newest state: %w", err)
		}
	}
	err := q.dispatchVerb()
	if err != nil && byState(err) {
		if unsure := q.sure(q.ctx); unsure != nil {
			return unsure
		}
	}
	return err
}

// sure fails where what this request has found may not have been the newest state.
func (q *request) sure(ctx context.Context) error {
	if q.server.cfg.ReadBarrier == nil {
		return nil
	}
	if err := q.server.cfg.ReadBarrier(ctx); err != nil {
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
