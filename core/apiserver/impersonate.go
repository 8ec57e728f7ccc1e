package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	headerImpersonateUser  = "Impersonate-User"
	headerImpersonateGroup = "Impersonate-Group"
	headerImpersonateUID   = "Impersonate-Uid"
	headerImpersonateExtra = "Impersonate-Extra-"

	authenticationGroup = "authentication.k8s.io"
	nodeNameExtra       = "authentication.kubernetes.io/node-name"
)

// impersonate lets users with the permission act as others. at is the request as they send
// it: constrained impersonation asks about it, too.
func (s *Server) impersonate(ctx context.Context, r *http.Request, at auth.Attributes) (resource.User, error) {
	want, err := impersonated(r.Header)
	if err != nil || want.Name == "" {
		return at.User, err
	}
	as, constraint, err := s.impersonation(ctx, want, at)
	if err != nil {
		return at.User, err
	}
	if s.cfg.Audit != nil {
		audit.FromContext(ctx).Impersonated(as, constraint)
	}
	return as, nil
}

// impersonated reads the headers. A user without a name means that there are none.
func impersonated(h http.Header) (resource.User, error) {
	want := resource.User{Name: h.Get(headerImpersonateUser), UID: h.Get(headerImpersonateUID), Groups: h[headerImpersonateGroup]}
	other := want.UID != "" || len(want.Groups) > 0
	for name, values := range h {
		key, ok := strings.CutPrefix(name, headerImpersonateExtra)
		if !ok {
			continue
		}
		other = true
		key = strings.ToLower(key)
		if unescaped, err := url.PathUnescape(key); err == nil {
			key = unescaped
		}
		if want.Extra == nil {
			want.Extra = map[string][]string{}
		}
		want.Extra[key] = append(want.Extra[key], values...)
	}
	if want.Name == "" && other {
		return want, apierrors.NewBadRequest(fmt.Sprintf(
			"requested &user.DefaultInfo{Name:%#v, UID:%#v, Groups:%#v, Extra:%#v} without impersonating a user name", want.Name, want.UID, want.Groups, want.Extra))
	}
	return want, nil
}

// mode is a way to be allowed to impersonate. The constrained ones ask for two permissions:
// to impersonate the user, and to do what is asked while doing so. The last, with neither name
// nor constraint, is the old verb "impersonate", which allows everything the user may do.
type mode struct {
	name string
	fits func(want, by *resource.User) bool
}

var modes = []mode{
	{"associated-node", func(want, by *resource.User) bool {
		node, ok := nodeOf(want.Name)
		_, _, account := serviceAccountName(by.Name)
		on := by.Extra[nodeNameExtra]
		return ok && account && onlyName(want) && len(on) == 1 && on[0] == node
	}},
	{"arbitrary-node", func(want, _ *resource.User) bool {
		_, ok := nodeOf(want.Name)
		return ok && onlyName(want)
	}},
	{"serviceaccount", func(want, _ *resource.User) bool {
		_, _, ok := serviceAccountName(want.Name)
		return ok && onlyName(want)
	}},
	{"user-info", func(want, _ *resource.User) bool {
		_, node := nodeOf(want.Name)
		_, _, account := serviceAccountName(want.Name)
		return !node && !account
	}},
	{"", func(*resource.User, *resource.User) bool { return true }},
}

func onlyName(u *resource.User) bool { return u.UID == "" && len(u.Groups) == 0 && len(u.Extra) == 0 }

// nodeOf returns the node whose user name it is.
func nodeOf(user string) (string, bool) {
	node, ok := strings.CutPrefix(user, auth.NodeUserPrefix)
	return node, ok && len(utilvalidation.IsDNS1123Subdomain(node)) == 0
}

func serviceAccountName(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && len(utilvalidation.IsDNS1123Label(namespace)) == 0 && len(utilvalidation.IsDNS1123Subdomain(name)) == 0
}

// impersonation tries the modes in turn. Where all refuse, the first refusal is the answer.
func (s *Server) impersonation(ctx context.Context, want resource.User, at auth.Attributes) (as resource.User, constraint string, err error) {
	for _, m := range modes {
		if !m.fits(&want, &at.User) {
			continue
		}
		as, failed := s.impersonateBy(ctx, m.name, want, at)
		if failed == nil {
			if m.name != "" {
				constraint = "impersonate:" + m.name
			}
			return as, constraint, nil
		}
		if err == nil {
			err = failed
		}
	}
	return resource.User{}, "", err
}

func (s *Server) impersonateBy(ctx context.Context, name string, want resource.User, at auth.Attributes) (resource.User, error) {
	c := impersonator{server: s, by: at.User, verb: "impersonate"}
	if name == "associated-node" {
		// The node is the one that the token says, which has been checked. Permissions are
		// about any node, and other facts about the token are nobody's business.
		keys := make([]string, 0, len(at.User.Extra))
		for k := range at.User.Extra {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		c.by.Extra = map[string][]string{"authentication.kubernetes.io/associated-node-keys": keys}
		c.anyNode = true
	}
	if name != "" {
		c.constrained, c.verb = true, "impersonate:"+name
		on := at
		on.User, on.Verb = c.by, "impersonate-on:"+name+":"+at.Verb
		if err := s.permitted(ctx, on); err != nil {
			return want, err
		}
	}
	return c.check(ctx, want)
}

// impersonator asks for each part of a user whether it may be impersonated.
type impersonator struct {
	server      *Server
	by          resource.User
	verb        string
	constrained bool
	anyNode     bool
}

func (c *impersonator) attributes(res, name string) auth.Attributes {
	a := auth.Attributes{User: c.by, Verb: c.verb, Group: authenticationGroup, Version: "v1", Resource: res, Name: name}
	if !c.constrained && res != "uids" && res != "userextras" {
		a.Group = ""
	}
	return a
}

func (c *impersonator) check(ctx context.Context, want resource.User) (resource.User, error) {
	as := want
	a := c.attributes("users", want.Name)
	if node, ok := nodeOf(want.Name); ok && c.constrained {
		a.Resource, a.Name = "nodes", node
		if c.anyNode {
			a.Name = "*"
		}
		as.Groups = []string{auth.NodesGroup}
	}
	if ns, account, ok := serviceAccountName(want.Name); ok {
		a.Resource, a.Namespace, a.Name = "serviceaccounts", ns, account
		if len(want.Groups) == 0 {
			as.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + ns}
		}
	}
	if err := c.server.permitted(ctx, a); err != nil {
		return as, err
	}
	if want.UID != "" {
		if err := c.server.permitted(ctx, c.attributes("uids", want.UID)); err != nil {
			return as, err
		}
	}
	if err := c.groups(ctx, want.Groups); err != nil {
		return as, err
	}
	if err := c.extra(ctx, want.Extra); err != nil {
		return as, err
	}
	switch {
	case as.Name == auth.AnonymousUser:
		as.Groups = withGroup(as.Groups, auth.UnauthenticatedGroup)
	case !slices.Contains(as.Groups, auth.UnauthenticatedGroup):
		as.Groups = withGroup(as.Groups, auth.AuthenticatedGroup)
	}
	return as, nil
}

func withGroup(groups []string, group string) []string {
	if slices.Contains(groups, group) {
		return groups
	}
	return append(slices.Clip(groups), group)
}

func (c *impersonator) groups(ctx context.Context, groups []string) error {
	if c.constrained && slices.Contains(groups, "") {
		return forbidden(c.attributes("groups", ""), "impersonating the empty string group is not allowed")
	}
	if c.constrained && slices.Contains(groups, auth.MastersGroup) {
		return forbidden(c.attributes("groups", auth.MastersGroup), "impersonating the system:masters group is not allowed")
	}
	if c.constrained && len(groups) >= many && c.server.permitted(ctx, c.attributes("groups", "*")) == nil {
		return nil
	}
	for _, g := range groups {
		if err := c.server.permitted(ctx, c.attributes("groups", g)); err != nil {
			return err
		}
	}
	return nil
}

// many is from how many groups or values on a permission for all of them is looked for first.
const many = 4

func (c *impersonator) extra(ctx context.Context, extra map[string][]string) error {
	if len(extra) == 0 {
		return nil
	}
	keys, number := make([]string, 0, len(extra)), 0
	for k, values := range extra {
		keys, number = append(keys, k), number+len(values)
	}
	slices.Sort(keys)
	if c.constrained {
		for _, k := range keys {
			if err := validExtra(k, extra[k]); err != nil {
				return forbidden(c.attributes("userextras", ""), err.Error())
			}
		}
		if all := c.attributes("userextras", "*"); max(len(keys), number) >= many {
			all.Subresource = "*"
			if c.server.permitted(ctx, all) == nil {
				return nil
			}
		}
	}
	for _, k := range keys {
		for _, v := range extra[k] {
			a := c.attributes("userextras", v)
			a.Subresource = k
			if err := c.server.permitted(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func validExtra(key string, values []string) error {
	if key == "" {
		return fmt.Errorf("impersonating the empty string key in extra is not allowed")
	}
	if err := utilvalidation.IsDomainPrefixedPath(field.NewPath("extra", "key"), key).ToAggregate(); err != nil {
		return fmt.Errorf("impersonating an invalid key in extra is not allowed: %w", err)
	}
	if key != strings.ToLower(key) {
		return fmt.Errorf("impersonating a non-lowercase key in extra is not allowed: %q", key)
	}
	if len(values) == 0 {
		return fmt.Errorf("impersonating empty values in extra is not allowed")
	}
	if slices.Contains(values, "") {
		return fmt.Errorf("impersonating the empty string value in extra is not allowed")
	}
	return nil
}

// permitted is authorize for a question beside the request's own: it leaves no trace in the
// audit log, and what could not be decided is refused.
func (s *Server) permitted(ctx context.Context, a auth.Attributes) error {
	allowed, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
	if allowed {
		return nil
	}
	if failed := auth.Failure(err); failed != nil {
		if reason != "" {
			reason = ": " + reason
		}
		reason = failed.Error() + reason
	}
	return forbidden(a, reason)
}
