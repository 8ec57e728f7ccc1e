package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/auth"
)

// Fairness lets requests in, each when it is its turn.
type Fairness interface {
	// Admit waits until a request as wide as seats may be served; see
	// [fairness.Controller].
	Admit(ctx context.Context, a *auth.Attributes, seats int) (fairness.Ticket, error)
}

// The headers as net/http spells them: upstream's constants are not, and would be made so anew
// with every request.
var (
	headerSchemaUID = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
	headerLevelUID  = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID)
)

// seat waits until flow control lets a request in. The ticket is to be released when the
// request is done, or sooner where it goes on for long without work. Byte streams need no
// seat.
func (s *Server) seat(ctx context.Context, w http.ResponseWriter, rt *route, query url.Values, a *auth.Attributes) (fairness.Ticket, error) {
	var none fairness.Ticket
	if s.cfg.Fairness == nil || s.streams(rt) {
		return none, nil
	}
	t, err := s.cfg.Fairness.Admit(ctx, a, s.seats(rt, query))
	h := w.Header()
	h[headerSchemaUID], h[headerLevelUID] = []string{t.SchemaUID}, []string{t.LevelUID}
	if errors.Is(err, fairness.ErrRejected) {
		s.log.Debug("request refused by flow control", "path", rt.path, "user", a.User.Name, "reason", err)
		return none, errTooManyRequests
	}
	return t, err
}

// streams reports whether a request is a byte stream.
func (s *Server) streams(rt *route) bool {
	if rt.subresource == "" {
		return false
	}
	k, ok := s.lookup(rt.gvr)
	if !ok {
		return false
	}
	sub, ok := k.subresource(rt.subresource)
	return ok && sub.Connect
}

// objectsPerSeat and maxSeats say how wide a request for many objects is, as upstream has it.
const (
	objectsPerSeat = 100
	maxSeats       = 10
)

// bytesPerSeat of a transaction are some fifty operations.
const bytesPerSeat = 64 << 10

// seats is how wide a request is: by the number of objects it has to read, or the size of a
// transaction.
func (s *Server) seats(rt *route, query url.Values) int {
	switch {
	case rt.size > 0:
		return int(min(1+rt.size/bytesPerSeat, maxSeats))
	case rt.size < 0:
		return maxSeats
	}
	if rt.verb != "list" && rt.verb != "deletecollection" || rt.name != "" {
		return 1
	}
	k, ok := s.lookup(rt.gvr)
	if !ok {
		return 1
	}
	n := s.cfg.Store.Count(k.prefix(rt.namespace))
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > 0 {
		n = min(n, limit)
	}
	return min(1+n/objectsPerSeat, maxSeats)
}
