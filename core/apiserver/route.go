package apiserver

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// route is what a request's path and method say.
type route struct {
	// resource is set for requests of objects; the rest are paths of other handlers.
	resource bool
	verb     string

	gvr         schema.GroupVersionResource
	subresource string
	namespace   string
	name        string
	// rest of the path behind the subresource, with its slash.
	rest string
	path string
	// oldWatch is set for the form /api/v1/watch/….
	oldWatch bool
	// size of a transaction in bytes, negative where it is not known.
	size int64
	// history asks for what became of the objects.
	history bool
	// dry says that the request asks for no effect.
	dry bool
}

// parseRoute understands /api/VERSION/… and /apis/GROUP/VERSION/…; verbs that depend on
// the query (list or watch) are settled with it.
func parseRoute(r *http.Request, query url.Values) route {
	rt := route{path: r.URL.Path, verb: strings.ToLower(r.Method)}
	path := r.URL.Path
	if of, ok := strings.CutPrefix(path, corev1.HistoryPath); ok && strings.HasPrefix(of, "/api") {
		path, rt.history = of, true
	}
	rest, ok := strings.CutPrefix(path, "/api/")
	if !ok {
		if rest, ok = strings.CutPrefix(path, "/apis/"); !ok {
			return rt
		}
		rt.gvr.Group, rest, ok = strings.Cut(rest, "/")
		if !ok || rt.gvr.Group == "" {
			return rt
		}
	}
	rt.gvr.Version, rest, ok = strings.Cut(rest, "/")
	rest = strings.TrimSuffix(rest, "/")
	if !ok || rt.gvr.Version == "" || rest == "" {
		return rt
	}
	first, after, _ := strings.Cut(rest, "/")
	if first == "watch" && after != "" {
		// The old form of watches: /api/v1/watch/….
		query.Set("watch", "true")
		rt.oldWatch = true
		first, after, _ = strings.Cut(after, "/")
		rest = first + "/" + after
	}
	parts := strings.SplitN(rest, "/", 6)
	if parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	if parts[0] == "namespaces" && len(parts) > 1 {
		rt.namespace = parts[1]
		if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
			parts = parts[2:]
		}
	}
	rt.resource = true
	rt.gvr.Resource = parts[0]
	if len(parts) > 1 {
		rt.name = parts[1]
	}
	if len(parts) > 2 {
		rt.subresource = parts[2]
	}
	if len(parts) > 3 {
		rt.rest = "/" + strings.Join(parts[3:], "/")
	} else if strings.HasSuffix(r.URL.Path, "/") && rt.subresource != "" {
		rt.rest = "/"
	}
	rt.verb = verbOf(r.Method, &rt, query)
	if rt.gvr == corev1.Transactions {
		rt.size = r.ContentLength
	}
	rt.dry = len(query["dryRun"]) > 0
	return rt
}

func verbOf(method string, rt *route, query url.Values) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if rt.name == "" {
			return "deletecollection"
		}
		return "delete"
	case http.MethodGet, http.MethodHead:
		watch := queryTrue(query, "watch")
		switch {
		case rt.subresource != "":
			return "get"
		case rt.name != "" && (!watch || !rt.oldWatch):
			return "get" // only the old form of watches has names
		case watch:
			return "watch"
		}
		return "list"
	}
	return strings.ToLower(method)
}

// selectName settles the name of lists and watches that ask for one name, so that
// permissions for one object hold for them.
func (rt *route) selectName(query url.Values) {
	if rt.name != "" || rt.verb != "list" && rt.verb != "watch" && rt.verb != "deletecollection" {
		return
	}
	text := query.Get("fieldSelector")
	if !strings.Contains(text, "metadata.name") {
		return
	}
	if s, err := fields.ParseSelector(text); err == nil {
		if name, ok := s.RequiresExactMatch("metadata.name"); ok {
			rt.name = name
		}
	}
}

func (rt *route) attributes(u resource.User) auth.Attributes {
	if !rt.resource {
		return auth.Attributes{User: u, Verb: rt.verb, Path: rt.path}
	}
	return auth.Attributes{
		User: u, Verb: rt.verb, Path: rt.path,
		Group: rt.gvr.Group, Version: rt.gvr.Version, Resource: rt.gvr.Resource, Subresource: rt.subresource,
		Namespace: rt.namespace, Name: rt.name,
	}
}

func isTrue(s string) bool { return s == "true" || s == "1" }

// selectors of a request for several objects.
func (rt *route) selectors(query url.Values) (field, label string) {
	switch rt.verb {
	case "list", "watch", "deletecollection":
		return query.Get("fieldSelector"), query.Get("labelSelector")
	}
	return "", ""
}
