package apiserver

import (
	"net/http"
	"net/http/pprof"
	"strings"
)

// profilingPath is where upstream has its profiles too.
const profilingPath = "/debug/pprof/"

// profile serves the runtime's profiles. Who may read them is the authorizer's business, as
// for every path: they show memory, and taking them costs time.
func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, profilingPath) {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}
