package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/transport"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Serve answers a request for what another server serves, and reports whether there is
// one. The request has been authorized for user. Like httputil.ReverseProxy it panics with
// http.ErrAbortHandler where a stream breaks after its head has been sent.
func (a *Aggregator) Serve(w http.ResponseWriter, r *http.Request, user resource.User) bool {
	to := a.server(r.URL.Path)
	if to == nil {
		return false
	}
	to.serve(w, r, user)
	return true
}

// Serves reports whether another server serves a path.
func (a *Aggregator) Serves(path string) bool { return a.server(path) != nil }

// server is who serves a path, or nil.
func (a *Aggregator) server(path string) *remote {
	routes := a.routes.Load()
	if routes == nil {
		return nil
	}
	gv, ok := groupVersion(path)
	if !ok {
		return nil
	}
	return (*routes)[gv]
}

// groupVersion takes the group version out of a path of the API or of OpenAPI.
func groupVersion(path string) (schema.GroupVersion, bool) {
	rest, ok := strings.CutPrefix(path, "/openapi/v3/")
	if !ok {
		rest = strings.TrimPrefix(path, "/")
	}
	var gv schema.GroupVersion
	if after, ok := strings.CutPrefix(rest, "apis/"); ok {
		if gv.Group, rest, ok = strings.Cut(after, "/"); !ok || gv.Group == "" {
			return gv, false
		}
	} else if rest, ok = strings.CutPrefix(rest, "api/"); !ok {
		return gv, false
	}
	gv.Version, _, _ = strings.Cut(rest, "/")
	return gv, gv.Version != ""
}

func (r *remote) serve(w http.ResponseWriter, req *http.Request, user resource.User) {
	if !r.available.Load() {
		r.retryLater(w)
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	if r.broken != nil {
		http.Error(w, r.broken.Error(), http.StatusInternalServerError)
		return
	}
	address, err := r.address(req.Context())
	if err != nil {
		r.a.log.Warn("an extension API server can't be found", "apiservice", r.name, "error", err)
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	var through http.RoundTripper = r.plain
	if req.Header.Get("Upgrade") != "" {
		through = r.upgrades
	}
	proxy := &httputil.ReverseProxy{
		Transport:     through,
		FlushInterval: -1, // somebody may be watching
		ErrorLog:      slog.NewLogLogger(r.a.log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = &url.URL{Scheme: r.scheme(), Host: address, Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery}
			p.Out.Host = address
			strip(p.Out.Header)
			p.SetXForwarded()
			p.Out.Header.Set("X-Forwarded-Uri", p.In.URL.Path)
			if id := w.Header()[audit.HeaderID]; len(id) > 0 {
				p.Out.Header[audit.HeaderID] = id // both servers' logs name the request the same
			}
			transport.SetAuthProxyHeaders(p.Out, user.Name, user.UID, user.Groups, user.Extra)
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified {
				return errRedirect
			}
			resp.Header.Del(audit.HeaderID) // the answer has it
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			if over := req.Context().Err(); errors.Is(over, context.DeadlineExceeded) {
				timedOut(w, over)
				return
			}
			if errors.Is(err, errRedirect) {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			r.retryLater(w)
			http.Error(w, "error trying to reach service: "+err.Error(), http.StatusServiceUnavailable)
		},
	}
	proxy.ServeHTTP(w, req)
}

// retryLater tells the client when to try again where a plugin is away, which is started again.
func (r *remote) retryLater(w http.ResponseWriter) {
	if r.plugin != nil {
		w.Header().Set("Retry-After", "1")
	}
}

// timedOut says that the other server has not answered in the time of the request.
func timedOut(w http.ResponseWriter, over error) {
	status := apierrors.NewTimeoutError(fmt.Sprintf("request did not complete within requested timeout - %v", over), 0).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	body, err := json.Marshal(&status)
	if err != nil {
		http.Error(w, status.Message, http.StatusGatewayTimeout)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusGatewayTimeout)
	_, _ = w.Write(body) // the client has gone; there is nobody to tell
}

// errRedirect refuses to send a client, with its credentials, where a server says.
var errRedirect = errors.New("the backend attempted to redirect this request, which is not permitted")

// bearerProtocol begins the WebSocket protocol in which browsers send a token.
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// strip removes what was meant for this server: credentials, and whom the client acts as.
func strip(h http.Header) {
	for name := range h {
		if name == "Authorization" || strings.HasPrefix(name, "Impersonate-") || strings.HasPrefix(name, "X-Remote-") {
			h.Del(name)
		}
	}
	lines := h.Values("Sec-Websocket-Protocol")
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, bearerProtocol) {
				kept = append(kept, p)
			}
		}
	}
	h.Del("Sec-Websocket-Protocol")
	if len(kept) > 0 {
		h.Set("Sec-Websocket-Protocol", strings.Join(kept, ", "))
	}
}
