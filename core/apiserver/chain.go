package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	growStack(0)
	rec := &recorder{ResponseWriter: w}
	start := time.Now()
	var rt route
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && err == http.ErrAbortHandler { //nolint:errorlint // net/http knows it by identity, too
				panic(p)
			}
			s.log.Error("panic in a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if rec.code == 0 {
				s.respondError(rec, r, apierrors.NewInternalError(fmt.Errorf("the server failed on this request: %v", p)))
			}
		}
		s.metrics.done(&rt, rec.code, time.Since(start))
	}()
	if err := s.serve(rec, r, &rt); err != nil {
		if rec.code != 0 {
			s.log.Debug("request failed after its answer began", "path", r.URL.Path, "error", err)
			return
		}
		s.respondError(rec, r, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route) error {
	var query url.Values
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
	} else {
		query = url.Values{}
	}
	*rt = parseRoute(r, query)
	rt.selectName(query)

	user, ok, err := s.cfg.Authenticator.Authenticate(r)
	if err != nil || !ok {
		if err != nil {
			s.log.Debug("authentication failed", "path", r.URL.Path, "error", err)
		}
		return apierrors.NewUnauthorized("Unauthorized")
	}
	ctx := r.Context()
	if user, err = s.impersonate(ctx, r, user); err != nil {
		return err
	}
	attributes := rt.attributes(user)
	if err := s.authorize(ctx, attributes); err != nil {
		return err
	}
	if s.cfg.Aggregator != nil && s.cfg.Aggregator.Serve(w, r, user) {
		return nil
	}
	if !rt.resource {
		s.servePath(w, r, user)
		return nil
	}
	return s.serveResource(ctx, w, r, rt, query, user)
}

func (s *Server) authorize(ctx context.Context, a auth.Attributes) error {
	allowed, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
	if allowed {
		return nil
	}
	if err != nil {
		s.log.Debug("authorization failed", "user", a.User.Name, "error", err)
		if reason == "" {
			reason = err.Error()
		}
	}
	return forbidden(a, reason)
}

func (s *Server) serveResource(ctx context.Context, w http.ResponseWriter, r *http.Request, rt *route, query url.Values, user resource.User) error {
	k, ok := s.lookup(rt.gvr)
	if !ok {
		// What is no resource may be a path of discovery, which answers 404 in its own way.
		return errNoRoute()
	}
	q := &request{server: s, w: w, r: r, ctx: ctx, route: *rt, query: query, user: user, kind: k}
	if k.Version.Deprecated {
		text := k.Version.DeprecationWarning
		if text == "" {
			text = fmt.Sprintf("%s %s is deprecated", k.apiVersion, k.GVK.Kind)
		}
		q.warn(text)
	}
	if k.namespaced && rt.namespace == "" && !k.Definition.Virtual {
		switch {
		case rt.verb == "create" && rt.name == "", rt.verb == "deletecollection":
			return errMethod(k.gr, rt.verb)
		case rt.name != "" && rt.verb != "list" && rt.verb != "watch":
			return errNoRoute()
		}
	}
	if !k.namespaced && rt.namespace != "" && (rt.gvr.Resource != "namespaces" || rt.namespace != rt.name) {
		return errNoRoute()
	}
	if !k.namespaced {
		q.route.namespace = ""
	}
	long := rt.verb == "watch"
	if sub, ok := k.subresource(rt.subresource); ok && sub.Connect {
		long = true
	}
	if !long {
		var cancel context.CancelFunc
		if rt.verb != "get" {
			q.ctx, cancel = context.WithTimeout(ctx, s.timeout(query))
			defer cancel()
		}
		release, err := s.admit(rt.verb)
		if err != nil {
			return err
		}
		defer release()
	}
	return q.dispatch()
}

// timeout of a request: its own wish, within the limit.
func (s *Server) timeout(query url.Values) time.Duration {
	if text := query.Get("timeout"); text != "" {
		if d, err := time.ParseDuration(text); err == nil && d > 0 && d < s.cfg.Limits.RequestTimeout {
			return d
		}
	}
	return s.cfg.Limits.RequestTimeout
}

// admit counts a request against the limits in flight.
func (s *Server) admit(verb string) (release func(), err error) {
	n, limit := &s.writes, int64(s.cfg.Limits.MaxWrites)
	if verb == "get" || verb == "list" {
		n, limit = &s.reads, int64(s.cfg.Limits.MaxReads)
	}
	if n.Add(1) > limit {
		n.Add(-1)
		return nil, errTooManyRequests()
	}
	return func() { n.Add(-1) }, nil
}

// impersonate lets users with the permission act as others.
func (s *Server) impersonate(ctx context.Context, r *http.Request, user resource.User) (resource.User, error) {
	name := r.Header.Get(headerImpersonateUser)
	if name == "" && r.Header.Get(headerImpersonateGroup) == "" && r.Header.Get(headerImpersonateUID) == "" {
		return user, nil
	}
	if name == "" {
		return user, apierrors.NewBadRequest("requested groups, uid or extra without impersonating a user: set " + headerImpersonateUser)
	}
	as := resource.User{Name: name, UID: r.Header.Get(headerImpersonateUID), Groups: r.Header.Values(headerImpersonateGroup)}
	check := func(group, res, sub, ns, value string) error {
		return s.authorize(ctx, auth.Attributes{User: user, Verb: "impersonate", Group: group, Version: "v1", Resource: res, Subresource: sub, Namespace: ns, Name: value})
	}
	if ns, account, ok := serviceAccountName(name); ok {
		if err := check("", "serviceaccounts", "", ns, account); err != nil {
			return user, err
		}
		if len(as.Groups) == 0 {
			as.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + ns}
		}
	} else if err := check("", "users", "", "", name); err != nil {
		return user, err
	}
	if as.UID != "" {
		if err := check("authentication.k8s.io", "uids", "", "", as.UID); err != nil {
			return user, err
		}
	}
	for _, g := range r.Header.Values(headerImpersonateGroup) {
		if err := check("", "groups", "", "", g); err != nil {
			return user, err
		}
	}
	for header, values := range r.Header {
		if !strings.HasPrefix(header, headerImpersonateExtra) {
			continue
		}
		key := strings.ToLower(header[len(headerImpersonateExtra):])
		if unescaped, err := url.PathUnescape(key); err == nil {
			key = unescaped
		}
		for _, v := range values {
			if err := check("authentication.k8s.io", "userextras", key, "", v); err != nil {
				return user, err
			}
		}
		if as.Extra == nil {
			as.Extra = map[string][]string{}
		}
		as.Extra[key] = values
	}
	if name != "system:anonymous" {
		as.Groups = append(as.Groups, "system:authenticated")
	}
	return as, nil
}

const (
	headerImpersonateUser  = "Impersonate-User"
	headerImpersonateGroup = "Impersonate-Group"
	headerImpersonateUID   = "Impersonate-Uid"
	headerImpersonateExtra = "Impersonate-Extra-"
)

func serviceAccountName(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// dispatch calls what answers the verb.
func (q *request) dispatch() error {
	k, rt := q.kind, &q.route
	if rt.subresource != "" {
		return q.dispatchSubresource()
	}
	if !k.allows(rt.verb) {
		return errMethod(k.gr, rt.verb)
	}
	switch rt.verb {
	case "get":
		return q.get()
	case "list":
		return q.list()
	case "watch":
		return q.watch()
	case "create":
		if rt.name != "" {
			return errMethod(k.gr, rt.verb)
		}
		if k.Definition.Virtual {
			return q.createVirtual()
		}
		return q.create()
	case "update":
		if rt.name == "" {
			return errMethod(k.gr, rt.verb)
		}
		return q.update()
	case "patch":
		if rt.name == "" {
			return errMethod(k.gr, rt.verb)
		}
		return q.patch()
	case "delete":
		return q.delete()
	case "deletecollection":
		return q.deleteCollection()
	}
	return errMethod(k.gr, rt.verb)
}

func (q *request) dispatchSubresource() error {
	k, rt := q.kind, &q.route
	switch {
	case rt.name == "":
		return errNoRoute()
	case rt.subresource == "status" && k.Version.Status:
		switch rt.verb {
		case "get":
			return q.get()
		case "update":
			return q.update()
		case "patch":
			return q.patch()
		}
		return errMethod(k.gr, rt.verb)
	case rt.subresource == "scale" && k.Version.Scale != nil:
		return q.scale()
	}
	sub, ok := k.subresource(rt.subresource)
	if !ok {
		return errNoRoute()
	}
	if sub.Connect {
		if q.server.cfg.Connect == nil {
			return errNoRoute()
		}
		a := rt.attributes(q.user)
		a.Namespace, a.Path = rt.namespace, rt.rest
		if err := q.admitConnect(sub); err != nil {
			return err
		}
		q.wrote = true
		q.server.cfg.Connect(q.w, q.r, a)
		return nil
	}
	allowed := false
	for _, v := range sub.Verbs {
		allowed = allowed || v == rt.verb
	}
	if !allowed {
		return errMethod(k.gr, rt.verb)
	}
	switch rt.verb {
	case "get":
		return q.get()
	case "create":
		return q.createSubresource(sub)
	case "update":
		return q.update()
	case "patch":
		return q.patch()
	}
	return errMethod(k.gr, rt.verb)
}

// recorder remembers the status code and keeps flushing and hijacking possible.
type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (r *recorder) Flush() {
	if f, ok := r.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap gives http.ResponseController what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
