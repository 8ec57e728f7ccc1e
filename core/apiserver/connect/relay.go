package connect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/internal/status"
)

// maxErrorBytes of an agent's error are passed on.
const maxErrorBytes = 4 << 10

// toAgent relays a request to a node's agent. A response that is no success is turned into
// a status, but on upgrades, where clients expect what the agent says.
func (h *Handler) toAgent(w http.ResponseWriter, r *http.Request, a agent, target *url.URL, onError func(*http.Response) error) {
	r = r.WithContext(context.WithValue(r.Context(), nodeKey{}, a.node))
	h.relay(w, r, target, h.agents, onError)
}

// relay copies a request to target and the answer back, as it comes. Upgraded connections
// are copied in both directions until both have ended.
func (h *Handler) relay(w http.ResponseWriter, r *http.Request, target *url.URL, transport http.RoundTripper, check func(*http.Response) error) {
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // somebody may be watching
		ErrorLog:      slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = target
			p.Out.Host = target.Host
			for name := range p.Out.Header {
				if credential(name) {
					p.Out.Header.Del(name)
				}
			}
			if protocols := p.Out.Header["Sec-Websocket-Protocol"]; len(protocols) > 0 {
				withoutToken(p.Out.Header, protocols)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			if check == nil || resp.StatusCode < http.StatusBadRequest {
				return nil
			}
			return check(resp)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			var carries apierrors.APIStatus
			if !errors.As(err, &carries) {
				err = apierrors.NewInternalError(fmt.Errorf("error dialing backend: %w", err))
			}
			status.Write(w, err)
		},
	}
	proxy.ServeHTTP(w, r)
}

// hijackable is a ResponseWriter with Hijack on itself, which WebSocket libraries look for
// there, whatever the writer below is wrapped in.
type hijackable struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (h hijackable) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// credential reports whether a header was meant for the API server only.
func credential(name string) bool {
	return name == "Authorization" || strings.HasPrefix(name, "Impersonate-")
}

// withoutToken removes the bearer token that browsers send as a WebSocket protocol.
func withoutToken(h http.Header, protocols []string) {
	var kept []string
	for _, line := range protocols {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, "base64url.bearer.authorization.k8s.io.") {
				kept = append(kept, p)
			}
		}
	}
	if len(kept) == 0 {
		h.Del("Sec-Websocket-Protocol")
		return
	}
	h["Sec-Websocket-Protocol"] = []string{strings.Join(kept, ", ")}
}

// agentError turns an agent's answer into the error that the client gets.
func agentError(resource, name string) func(*http.Response) error {
	return func(resp *http.Response) error {
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("read the node agent's answer: %w", err))
		}
		text := strings.TrimSpace(string(body))
		switch resp.StatusCode {
		case http.StatusBadRequest:
			return apierrors.NewBadRequest(text)
		case http.StatusInternalServerError:
			return apierrors.NewInternalError(errors.New(text))
		}
		return apierrors.NewGenericServerResponse(resp.StatusCode, resp.Request.Method, schema.GroupResource{Resource: resource}, name, text, 0, false)
	}
}
