package apiserver_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
)

func TestProfilesAreForWhoMayReadThem(t *testing.T) {
	get := func(s http.Handler, path, user string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-User", user)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	on := newServer(t, func(c *apiserver.Config) { c.Profiling = true }).API
	off := newServer(t).API
	for _, tc := range []struct {
		name       string
		server     http.Handler
		path, user string
		want       int
	}{
		{"the list", on, "/debug/pprof/", "root", 200},
		{"a profile", on, "/debug/pprof/heap", "root", 200},
		{"no permission", on, "/debug/pprof/heap", "nobody", 403},
		{"no identity", on, "/debug/pprof/heap", "unknown", 401},
		{"switched off", off, "/debug/pprof/heap", "root", 404},
	} {
		if got := get(tc.server, tc.path, tc.user); got != tc.want {
			t.Errorf("%s: %s as %s: %d, want %d", tc.name, tc.path, tc.user, got, tc.want)
		}
	}
}
