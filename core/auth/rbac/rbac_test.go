package rbac

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	roleKind, clusterRoleKind, bindingKind, clusterBindingKind = kinds[0], kinds[1], kinds[2], kinds[3]
)

func put(t testing.TB, a *Authorizer, k kind, namespace, name string, o any) {
	t.Helper()
	var data []byte
	if o != nil {
		var err error
		if data, err = json.Marshal(o); err != nil {
			t.Fatal(err)
		}
	}
	a.apply(k, store.Key(k.bucket+"/"+namespace+"/"+name), data)
}

func rules(r ...rbacv1.PolicyRule) *rbacv1.ClusterRole { return &rbacv1.ClusterRole{Rules: r} }

func on(verbs, groups, resources string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Split(verbs, ","), APIGroups: strings.Split(groups, ","), Resources: strings.Split(resources, ","), ResourceNames: names}
}

func bind(kind, role string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role}, Subjects: subjects}
}

func userSubject(name string) rbacv1.Subject  { return rbacv1.Subject{Kind: "User", Name: name} }
func groupSubject(name string) rbacv1.Subject { return rbacv1.Subject{Kind: "Group", Name: name} }
func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
}

// attributes from "verb group/resource/sub ns/name", "verb /path".
func attributes(user resource.User, s string) auth.Attributes {
	verb, rest, _ := strings.Cut(s, " ")
	at := auth.Attributes{User: user, Verb: verb}
	if strings.HasPrefix(rest, "/") {
		at.Path = rest
		return at
	}
	what, where, _ := strings.Cut(rest, " ")
	parts := strings.Split(what, "/")
	if at.Resource = parts[1]; parts[0] != "core" {
		at.Group = parts[0]
	}
	if len(parts) > 2 {
		at.Subresource = parts[2]
	}
	at.Namespace, at.Name, _ = strings.Cut(where, "/")
	return at
}

func TestAuthorize(t *testing.T) {
	a := New(nil)
	put(t, a, clusterRoleKind, "", "reader", rules(on("get,list", "", "pods,pods/log")))
	put(t, a, clusterRoleKind, "", "all", rules(on("*", "*", "*"), rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}))
	put(t, a, clusterRoleKind, "", "named", rules(on("get,update", "", "configmaps", "one", "two")))
	put(t, a, clusterRoleKind, "", "scaler", rules(on("update", "*", "*/scale")))
	put(t, a, clusterRoleKind, "", "paths", rules(rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz", "/api*", "/apis/*"}}))
	put(t, a, roleKind, "ns", "writer", rules(on("create", "apps", "deployments")))
	put(t, a, clusterBindingKind, "", "masters", bind("ClusterRole", "all", groupSubject("admins")))
	put(t, a, clusterBindingKind, "", "paths", bind("ClusterRole", "paths", groupSubject("all")))
	put(t, a, bindingKind, "ns", "reader", bind("ClusterRole", "reader", userSubject("jane"), account("", "robot")))
	put(t, a, bindingKind, "ns", "writer", bind("Role", "writer", account("other", "builder")))
	put(t, a, bindingKind, "ns", "named", bind("ClusterRole", "named", userSubject("bob")))
	put(t, a, clusterBindingKind, "", "scaler", bind("ClusterRole", "scaler", userSubject("hpa")))
	put(t, a, bindingKind, "ns", "paths", bind("ClusterRole", "paths", userSubject("joe")))
	put(t, a, bindingKind, "ns", "dangling", bind("Role", "nowhere", userSubject("joe")))

	jane := resource.User{Name: "jane", Groups: []string{"all"}}
	for _, c := range []struct {
		user resource.User
		what string
		want string // the reason, "" means no
	}{
		{jane, "get core/pods ns/x", `RBAC: allowed by RoleBinding "reader/ns" of ClusterRole "reader" to User "jane"`},
		{jane, "list core/pods ns", `RBAC: allowed by RoleBinding "reader/ns" of ClusterRole "reader" to User "jane"`},
		{jane, "get core/pods/log ns/x", `RBAC: allowed by RoleBinding "reader/ns" of ClusterRole "reader" to User "jane"`},
		{jane, "get core/pods/exec ns/x", ""},
		{jane, "get core/pods other/x", ""},
		{jane, "list core/pods", ""},
		{jane, "watch core/pods ns", ""},
		{jane, "get metrics.k8s.io/pods ns/x", ""},
		{jane, "get /healthz", `RBAC: allowed by ClusterRoleBinding "paths" of ClusterRole "paths" to Group "all"`},
		{jane, "get /healthz/x", ""},
		{jane, "post /healthz", ""},
		{jane, "get /apix", `RBAC: allowed by ClusterRoleBinding "paths" of ClusterRole "paths" to Group "all"`},
		{jane, "get /apis/apps", `RBAC: allowed by ClusterRoleBinding "paths" of ClusterRole "paths" to Group "all"`},
		{resource.User{Name: "system:serviceaccount:ns:robot"}, "get core/pods ns/x", `RBAC: allowed by RoleBinding "reader/ns" of ClusterRole "reader" to ServiceAccount "robot/ns"`},
		{resource.User{Name: "system:serviceaccount:other:builder"}, "create apps/deployments ns", `RBAC: allowed by RoleBinding "writer/ns" of Role "writer" to ServiceAccount "builder/other"`},
		{resource.User{Name: "system:serviceaccount:ns:builder"}, "create apps/deployments ns", ""},
		{resource.User{Name: "bob"}, "get core/configmaps ns/two", `RBAC: allowed by RoleBinding "named/ns" of ClusterRole "named" to User "bob"`},
		{resource.User{Name: "bob"}, "get core/configmaps ns/three", ""},
		{resource.User{Name: "bob"}, "list core/configmaps ns", ""},
		{resource.User{Name: "hpa"}, "update apps/deployments/scale ns/x", `RBAC: allowed by ClusterRoleBinding "scaler" of ClusterRole "scaler" to User "hpa"`},
		{resource.User{Name: "hpa"}, "update apps/deployments ns/x", ""},
		{resource.User{Name: "root", Groups: []string{"admins"}}, "delete x.y/z/w ns/x", `RBAC: allowed by ClusterRoleBinding "masters" of ClusterRole "all" to Group "admins"`},
		{resource.User{Name: "root", Groups: []string{"admins"}}, "get /anything", `RBAC: allowed by ClusterRoleBinding "masters" of ClusterRole "all" to Group "admins"`},
		{resource.User{Name: "joe"}, "get /api", ""}, // paths are not in a namespace
	} {
		t.Run(c.user.Name+" "+c.what, func(t *testing.T) {
			ok, reason, err := a.Authorize(t.Context(), attributes(c.user, c.what))
			if err != nil || ok != (c.want != "") {
				t.Fatalf("%v %q %v, want %q", ok, reason, err, c.want)
			}
			if ok && reason != c.want {
				t.Errorf("reason %q, want %q", reason, c.want)
			}
		})
	}
	t.Run("a missing role is said", func(t *testing.T) {
		ok, reason, _ := a.Authorize(t.Context(), attributes(resource.User{Name: "joe"}, "get core/pods ns/x"))
		if ok || reason != `RBAC: role.rbac.authorization.k8s.io "nowhere" not found` {
			t.Errorf("%v %q", ok, reason)
		}
	})
	t.Run("masters need no binding", func(t *testing.T) {
		if ok, _, _ := New(nil).Authorize(t.Context(), attributes(resource.User{Groups: []string{"system:masters"}}, "get /x")); !ok {
			t.Error("refused")
		}
	})
}

func aggregated(name string, own map[string]string, selectors ...string) *rbacv1.ClusterRole {
	r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}, AggregationRule: &rbacv1.AggregationRule{}}
	for _, s := range selectors {
		r.AggregationRule.ClusterRoleSelectors = append(r.AggregationRule.ClusterRoleSelectors, metav1.LabelSelector{MatchLabels: map[string]string{s: "true"}})
	}
	return r
}

func TestAggregatedRoles(t *testing.T) {
	a := New(nil)
	may := func(want bool, verb string) {
		t.Helper()
		if ok, _, _ := a.Authorize(t.Context(), attributes(resource.User{Name: "u"}, verb+" core/pods ns/x")); ok != want {
			t.Errorf("%s: %v, want %v", verb, ok, want)
		}
	}
	part := func(label, verb string) *rbacv1.ClusterRole {
		r := rules(on(verb, "", "pods"))
		r.Labels = map[string]string{label: "true"}
		return r
	}
	put(t, a, clusterBindingKind, "", "b", bind("ClusterRole", "admin", userSubject("u")))
	put(t, a, clusterRoleKind, "", "part-get", part("to-view", "get"))
	put(t, a, clusterRoleKind, "", "admin", aggregated("admin", map[string]string{"to-view": "true"}, "to-admin"))
	put(t, a, clusterRoleKind, "", "view", aggregated("view", map[string]string{"to-admin": "true"}, "to-view")) // a ring
	may(true, "get")
	may(false, "list")
	put(t, a, clusterRoleKind, "", "part-list", part("to-view", "list"))
	may(true, "list")
	if got := a.index.stale(); len(got) != 2 || len(got["admin"]) != 2 {
		t.Errorf("stale %v", got)
	}
	stored := aggregated("admin", map[string]string{"to-view": "true"}, "to-admin")
	stored.Rules = a.index.stale()["admin"]
	put(t, a, clusterRoleKind, "", "admin", stored)
	if got := a.index.stale(); len(got) != 1 {
		t.Errorf("stale %v", got)
	}
	put(t, a, clusterRoleKind, "", "part-list", part("to-nothing", "list"))
	may(false, "list")
	put(t, a, clusterRoleKind, "", "view", nil)
	may(false, "get")
	put(t, a, clusterRoleKind, "", "part-get", part("to-admin", "get"))
	may(true, "get")
	put(t, a, clusterRoleKind, "", "admin", nil)
	may(false, "get")
}

func TestRules(t *testing.T) {
	a := New(nil)
	put(t, a, clusterRoleKind, "", "everywhere", rules(on("get", "", "nodes")))
	put(t, a, roleKind, "ns", "here", rules(on("get", "", "pods")))
	put(t, a, clusterBindingKind, "", "b", bind("ClusterRole", "everywhere", userSubject("u"), groupSubject("g")))
	put(t, a, bindingKind, "ns", "b", bind("Role", "here", userSubject("u")))
	u := resource.User{Name: "u", Groups: []string{"g"}}
	for namespace, want := range map[string]string{"ns": "nodes,pods", "other": "nodes", "": "nodes"} {
		var got []string
		for _, r := range a.Rules(u, namespace) {
			got = append(got, r.Resources...)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %v, want %s", namespace, got, want)
		}
	}
	root := resource.User{Name: "root", Groups: []string{auth.MastersGroup}}
	if got := a.Rules(root, "ns"); len(got) != 2 {
		t.Errorf("masters: %v", got)
	}
	put(t, a, clusterRoleKind, "", "cluster-admin", rules(everything...))
	put(t, a, clusterBindingKind, "", "cluster-admin", bind("ClusterRole", "cluster-admin", groupSubject(auth.MastersGroup)))
	if got := a.Rules(root, "ns"); len(got) != 2 {
		t.Errorf("masters with a binding: %v", got)
	}
}

// world is the stored objects, to be evaluated the slow way.
type world struct {
	roles    map[scopedName]*rbacv1.ClusterRole
	bindings map[scopedName]*rbacv1.RoleBinding
}

// allows says what the documentation of RBAC says, without any index.
func (w *world) allows(at auth.Attributes) bool {
	for name, b := range w.bindings {
		if name.namespace != "" && (at.Resource == "" || name.namespace != at.Namespace) {
			continue
		}
		if !slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
			switch s.Kind {
			case "User":
				return s.Name == at.User.Name
			case "Group":
				return slices.Contains(at.User.Groups, s.Name)
			}
			ns := s.Namespace
			if ns == "" {
				ns = name.namespace
			}
			return ns != "" && at.User.Name == "system:serviceaccount:"+ns+":"+s.Name
		}) {
			continue
		}
		ref := scopedName{"", b.RoleRef.Name}
		if b.RoleRef.Kind == "Role" {
			ref.namespace = name.namespace
		}
		if slices.ContainsFunc(w.rules(ref, nil), func(r rbacv1.PolicyRule) bool { return ruleAllows(r, at) }) {
			return true
		}
	}
	return false
}

func (w *world) rules(ref scopedName, above []string) []rbacv1.PolicyRule {
	r := w.roles[ref]
	if r == nil {
		return nil
	}
	if r.AggregationRule == nil {
		return r.Rules
	}
	var out []rbacv1.PolicyRule
	for name, other := range w.roles {
		if name.namespace != "" || name == ref || slices.Contains(above, name.name) {
			continue
		}
		for _, s := range r.AggregationRule.ClusterRoleSelectors {
			match := true
			for k, v := range s.MatchLabels {
				match = match && other.Labels[k] == v
			}
			if match {
				out = append(out, w.rules(name, append(slices.Clone(above), ref.name))...)
			}
		}
	}
	return out
}

func ruleAllows(r rbacv1.PolicyRule, at auth.Attributes) bool {
	in := func(l []string, s string) bool { return slices.Contains(l, "*") || slices.Contains(l, s) }
	if !in(r.Verbs, at.Verb) {
		return false
	}
	if at.Resource == "" {
		return slices.ContainsFunc(r.NonResourceURLs, func(u string) bool {
			return u == at.Path || strings.HasSuffix(u, "*") && strings.HasPrefix(at.Path, strings.TrimSuffix(u, "*"))
		})
	}
	res := in(r.Resources, at.Resource)
	if at.Subresource != "" {
		res = in(r.Resources, at.Resource+"/"+at.Subresource) || slices.Contains(r.Resources, "*/"+at.Subresource)
	}
	return res && in(r.APIGroups, at.Group) && (len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, at.Name))
}

// However roles and bindings come, change and go, the index decides as the slow way does.
func TestIndexAgainstNaiveEvaluation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := New(nil)
		w := &world{map[scopedName]*rbacv1.ClusterRole{}, map[scopedName]*rbacv1.RoleBinding{}}
		pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
		some := func(label string, from ...string) []string {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID[string]).Draw(t, label)
		}
		name := func(scoped bool) scopedName {
			n := scopedName{"", pick("name", "a", "b", "c", "d")}
			if scoped {
				n.namespace = pick("namespace", "n1", "n2")
			}
			return n
		}
		apply := func(k kind, n scopedName, o any) {
			var data []byte
			if o != nil {
				var err error
				if data, err = json.Marshal(o); err != nil {
					t.Fatal(err)
				}
			}
			a.apply(k, store.Key(k.bucket+"/"+n.namespace+"/"+n.name), data)
		}
		role := func(scoped bool) {
			n, k := name(scoped), clusterRoleKind
			if scoped {
				k = roleKind
			}
			if rapid.Float64().Draw(t, "remove") < 0.3 {
				delete(w.roles, n)
				apply(k, n, nil)
				return
			}
			r := &rbacv1.ClusterRole{}
			for range rapid.IntRange(0, 3).Draw(t, "rules") {
				r.Rules = append(r.Rules, rbacv1.PolicyRule{
					Verbs: some("verbs", "get", "list", "*"), APIGroups: some("groups", "", "apps", "*"),
					Resources: some("resources", "pods", "pods/log", "*/log", "*"), ResourceNames: some("names", "x", "y"),
					NonResourceURLs: some("urls", "/a", "/a/*", "*"),
				})
			}
			if !scoped {
				r.Labels = map[string]string{pick("label", "l1", "l2"): "true"}
				if rapid.Bool().Draw(t, "aggregated") {
					r.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{pick("selector", "l1", "l2"): "true"}}}}
				}
			}
			w.roles[n] = r
			apply(k, n, r)
		}
		binding := func(scoped bool) {
			n, k := name(scoped), clusterBindingKind
			if scoped {
				k = bindingKind
			}
			if rapid.Float64().Draw(t, "remove") < 0.3 {
				delete(w.bindings, n)
				apply(k, n, nil)
				return
			}
			b := &rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: pick("role", "a", "b", "c", "d")}}
			if scoped && rapid.Bool().Draw(t, "local") {
				b.RoleRef.Kind = "Role"
			}
			for range rapid.IntRange(0, 3).Draw(t, "subjects") {
				b.Subjects = append(b.Subjects, rbacv1.Subject{
					Kind: pick("kind", "User", "Group", "ServiceAccount"), Name: pick("subject", "u", "g"), Namespace: pick("of", "", "n1"),
				})
			}
			w.bindings[n] = b
			apply(k, n, b)
		}
		t.Repeat(map[string]func(*rapid.T){
			"role":           func(*rapid.T) { role(true) },
			"clusterRole":    func(*rapid.T) { role(false) },
			"binding":        func(*rapid.T) { binding(true) },
			"clusterBinding": func(*rapid.T) { binding(false) },
			"": func(*rapid.T) {
				for range 8 {
					at := auth.Attributes{User: resource.User{Name: pick("user", "u", "system:serviceaccount:n1:u", "v"), Groups: some("in", "g", "h")}, Verb: pick("verb", "get", "list")}
					if rapid.Bool().Draw(t, "path") {
						at.Path = pick("url", "/a", "/a/b", "/b")
					} else {
						at.Group, at.Resource, at.Subresource = pick("group", "", "apps"), "pods", pick("sub", "", "log", "exec")
						at.Namespace, at.Name = pick("ns", "", "n1", "n2"), pick("object", "", "x", "y")
					}
					ok, reason, err := a.Authorize(t.Context(), at)
					if want := w.allows(at); err != nil || ok != want {
						t.Fatalf("%+v: %v %q %v, want %v", at, ok, reason, err, want)
					}
				}
			},
		})
	})
}

func BenchmarkAuthorize(b *testing.B) {
	a := New(nil)
	for i := range 500 {
		name := fmt.Sprintf("role-%d", i)
		put(b, a, clusterRoleKind, "", name, rules(on("get,list,watch", "", "pods,services,configmaps,secrets"), on("*", "apps", "deployments,replicasets")))
		put(b, a, bindingKind, fmt.Sprintf("ns-%d", i%50), name, bind("ClusterRole", name, userSubject("jane"), groupSubject("dev")))
	}
	for i := range 10 {
		put(b, a, clusterBindingKind, "", fmt.Sprintf("b-%d", i), bind("ClusterRole", fmt.Sprintf("role-%d", i), groupSubject("system:authenticated")))
	}
	user := resource.User{Name: "jane", Groups: []string{"dev", "system:authenticated"}}
	for name, what := range map[string]string{"allowed": "get core/pods ns-7/x", "denied": "delete core/nodes/status ns-7/x"} {
		b.Run(name, func(b *testing.B) {
			at := attributes(user, what)
			b.ReportAllocs()
			for b.Loop() {
				if ok, _, _ := a.Authorize(b.Context(), at); ok != (name == "allowed") {
					b.Fatal(ok)
				}
			}
		})
	}
}
