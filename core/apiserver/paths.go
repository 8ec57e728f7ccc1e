package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// userKey is the key of the request's user in the context of handlers that are not this
// package's.
type userKey struct{}

// UserFrom returns who asks, to the handlers of [Config].
func UserFrom(ctx context.Context) (resource.User, bool) {
	u, ok := ctx.Value(userKey{}).(resource.User)
	return u, ok
}

// servePath serves what is no object.
func (s *Server) servePath(w http.ResponseWriter, r *http.Request, user resource.User) {
	path := r.URL.Path
	r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
	if h, ok := s.handler(path); ok {
		h.ServeHTTP(w, r)
		return
	}
	if !s.cfg.Profiling || !strings.HasPrefix(path, profilingPath) { // profiles take the time that they are asked for
		defer s.bounded(w, r)()
	}
	switch {
	case path == "/healthz", strings.HasPrefix(path, "/healthz/"):
		s.health(w, r, "healthz", s.cfg.Live)
	case path == "/livez", strings.HasPrefix(path, "/livez/"):
		s.health(w, r, "livez", s.cfg.Live)
	case path == "/readyz", strings.HasPrefix(path, "/readyz/"):
		s.health(w, r, "readyz", slices.Concat([]Check{{"shutdown", s.notStopping}}, s.cfg.Live, s.cfg.Ready))
	case path == "/version", path == "/version/":
		writeJSON(w, s.cfg.Version)
	case path == "/metrics":
		promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	case s.cfg.Profiling && strings.HasPrefix(path, profilingPath):
		profile(w, r)
	case strings.HasPrefix(path, "/openapi/") && s.cfg.OpenAPI != nil:
		s.cfg.OpenAPI.ServeHTTP(w, r)
	case isDiscovery(path) && s.cfg.Discovery != nil:
		s.cfg.Discovery.ServeHTTP(w, r)
	case path == "/":
		writeJSON(w, map[string][]string{"paths": s.paths()})
	default:
		s.respondError(w, r, errNoRoute())
	}
}

// paths are those that the server answers, but for objects'.
func (s *Server) paths() []string {
	out := []string{"/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}
	for p := range s.cfg.Handlers {
		out = append(out, p)
	}
	for _, checks := range [...]struct {
		path string
		list []Check
	}{{"/healthz/", s.cfg.Live}, {"/livez/", s.cfg.Live}, {"/readyz/", slices.Concat(s.cfg.Live, s.cfg.Ready)}} {
		for _, c := range append(checks.list, Check{Name: "ping"}) {
			out = append(out, checks.path+c.Name)
		}
	}
	for _, g := range s.cfg.Registry.Snapshot().Groups {
		prefix := "/apis/" + g.Name
		if g.Name == "" {
			prefix = "/api"
		} else {
			out = append(out, prefix)
		}
		for _, v := range g.Versions {
			out = append(out, prefix+"/"+v.Version)
		}
	}
	slices.Sort(out)
	return out
}

func isDiscovery(path string) bool {
	return path == "/api" || path == "/apis" || strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/apis/")
}

// handler finds a configured handler: by the exact path, then by the longest prefix.
func (s *Server) handler(path string) (http.Handler, bool) {
	if h, ok := s.cfg.Handlers[path]; ok {
		return h, true
	}
	best := ""
	for p := range s.cfg.Handlers {
		if strings.HasSuffix(p, "/") && strings.HasPrefix(path, p) && len(p) > len(best) {
			best = p
		}
	}
	h, ok := s.cfg.Handlers[best]
	return h, ok && best != ""
}

func (s *Server) notStopping(context.Context) error {
	select {
	case <-s.draining:
		return errors.New("the server is shutting down")
	default:
		return nil
	}
}

// health runs checks and answers as upstream's probes do.
func (s *Server) health(w http.ResponseWriter, r *http.Request, name string, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	exclude := r.URL.Query()["exclude"]
	_, one, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	checks = append([]Check{{"ping", func(context.Context) error { return nil }}}, checks...)
	var b strings.Builder
	failed, ran := false, 0
	for _, c := range checks {
		if one != "" && c.Name != one {
			continue
		}
		ran++
		if slices.Contains(exclude, c.Name) {
			fmt.Fprintf(&b, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := c.Run(ctx); err != nil {
			failed = true
			fmt.Fprintf(&b, "[-]%s failed: %v\n", c.Name, err)
			continue
		}
		fmt.Fprintf(&b, "[+]%s ok\n", c.Name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, verbose := r.URL.Query()["verbose"]
	switch { // where a write fails, the client has gone
	case ran == 0:
		http.Error(w, "404 page not found", http.StatusNotFound)
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "%s%s check failed\n", b.String(), name)
	case verbose:
		_, _ = fmt.Fprintf(w, "%s%s check passed\n", b.String(), name)
	default:
		_, _ = fmt.Fprint(w, "ok")
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}
