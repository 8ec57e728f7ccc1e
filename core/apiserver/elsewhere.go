package apiserver

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// serveElsewhere lets another server answer a request, in the time that a request may take
// here. What lasts has no such time, and needs no seat while it does.
func (s *Server) serveElsewhere(w http.ResponseWriter, r *http.Request, rt *route, query url.Values, user resource.User, ticket *fairness.Ticket) (served bool, err error) {
	if rt.lastsElsewhere(r) {
		ticket.Release()
		return s.cfg.Aggregator.Serve(streamWriter(w), r, user), nil
	}
	timeout, err := s.timeout(query)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithDeadline(r.Context(), begun(w).Add(timeout))
	defer cancel()
	defer boundWrites(ctx, w, min(takeGrace, timeout))()
	return s.cfg.Aggregator.Serve(streamWriter(w), r.WithContext(ctx), user), nil
}

// lastsElsewhere reports whether a request is a watch or a byte stream, by what other servers'
// types have in common: nothing else is known of them.
func (rt *route) lastsElsewhere(r *http.Request) bool {
	if !rt.resource {
		return false
	}
	switch rt.subresource {
	case "attach", "exec", "log", "portforward", "proxy":
		return true
	}
	return rt.verb == "watch" || r.Header.Get("Upgrade") != ""
}
