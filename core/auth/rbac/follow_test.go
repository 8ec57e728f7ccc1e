package rbac_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// write stores an object; nil deletes it.
func write(t *testing.T, s *store.Store, bucket, namespace, name string, o any) {
	t.Helper()
	w := store.Write{Key: store.Key(bucket + ".rbac.authorization.k8s.io/" + namespace + "/" + name), Expect: store.Any, RevisionAt: -1}
	if o == nil {
		w.Delete = true
	} else {
		var err error
		if w.Data, err = json.Marshal(o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

// eventually polls what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within ten seconds", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFollowsTheStore(t *testing.T) {
	s := storetest.Open(t)
	role := &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	binding := &rbacv1.RoleBinding{
		RoleRef:  rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}},
	}
	write(t, s, "clusterroles", "", "reader", role)
	write(t, s, "rolebindings", "before", "b", binding)

	a := rbac.New(slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, s) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	<-a.Ready()
	may := func(namespace string) bool {
		ok, _, err := a.Authorize(t.Context(), auth.Attributes{User: resource.User{Name: "jane"}, Verb: "get", Resource: "pods", Namespace: namespace})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !may("before") {
		t.Error("what was there before is not known when ready")
	}
	write(t, s, "rolebindings", "after", "b", binding)
	eventually(t, "a new binding", func() bool { return may("after") })
	write(t, s, "rolebindings", "after", "b", nil)
	eventually(t, "a deleted binding", func() bool { return !may("after") })
	write(t, s, "clusterroles", "", "reader", &rbacv1.ClusterRole{})
	eventually(t, "a changed role", func() bool { return !may("before") })
	write(t, s, "clusterroles", "", "reader", role)
	eventually(t, "the role changed back", func() bool { return may("before") })
	write(t, s, "clusterroles", "", "reader", "not a role")
	eventually(t, "an unreadable role", func() bool { return !may("before") })
}

func fakeClient(objects ...runtime.Object) *fake.FakeDynamicClient {
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		rbacv1.SchemeGroupVersion.WithResource("clusterroles"): "ClusterRoleList",
	}, objects...)
}

func TestAggregatedRulesAreWritten(t *testing.T) {
	s := storetest.Open(t)
	tree := map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "view"},
		"aggregationRule": map[string]any{"clusterRoleSelectors": []any{map[string]any{"matchLabels": map[string]any{"v": "true"}}}},
	}
	client := fakeClient(&unstructured.Unstructured{Object: tree})
	failures := 1
	client.PrependReactor("get", "clusterroles", func(clienttesting.Action) (bool, runtime.Object, error) {
		failures--
		return failures >= 0, nil, errors.New("not now")
	})
	updated := make(chan []any, 16)
	client.PrependReactor("update", "clusterroles", func(a clienttesting.Action) (bool, runtime.Object, error) {
		o := a.(clienttesting.UpdateAction).GetObject().(*unstructured.Unstructured)
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		write(t, s, "clusterroles", "", "view", o.Object) // as the API server does
		updated <- rules
		return false, nil, nil
	})
	write(t, s, "clusterroles", "", "view", tree)
	a := rbac.New(slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = a.Run(ctx, s) }()
	done := make(chan struct{})
	go func() { defer close(done); _ = a.WriteAggregated(ctx, client) }()
	part := func(verb string) map[string]any {
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"v": "true"}},
			"rules": []any{map[string]any{"verbs": []any{verb}, "apiGroups": []any{""}, "resources": []any{"pods"}}}}
	}
	write(t, s, "clusterroles", "", "part", part("get"))
	select {
	case rules := <-updated:
		if fmt.Sprint(rules) != "[map[apiGroups:[] resources:[pods] verbs:[get]]]" {
			t.Errorf("rules %v", rules)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the rules were not written")
	}
	write(t, s, "clusterroles", "", "part", nil)
	select {
	case rules := <-updated:
		if len(rules) != 0 {
			t.Errorf("rules %v", rules)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("rules were not taken away")
	}
	stop()
	<-done
}

func TestGuard(t *testing.T) {
	s := storetest.Open(t)
	tree := func(o any) map[string]any {
		out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	rule := func(verbs, group, res string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: strings.Split(verbs, ","), APIGroups: []string{group}, Resources: []string{res}, ResourceNames: names}
	}
	role := func(r ...rbacv1.PolicyRule) *rbacv1.ClusterRole { return &rbacv1.ClusterRole{Rules: r} }
	binding := func(kind, role, user string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role}, Subjects: []rbacv1.Subject{{Kind: "User", Name: user}}}
	}
	rb := "rbac.authorization.k8s.io"
	write(t, s, "clusterroles", "", "strong", role(rule("get,delete", "", "pods")))
	write(t, s, "clusterroles", "", "weak", role(rule("get", "", "pods")))
	write(t, s, "clusterroles", "", "escalator", role(rule("escalate", rb, "roles")))
	write(t, s, "clusterroles", "", "binder", role(rule("bind", rb, "clusterroles", "strong")))
	write(t, s, "rolebindings", "ns", "weak", binding("ClusterRole", "weak", "jane"))
	write(t, s, "rolebindings", "ns", "escalator", binding("ClusterRole", "escalator", "eve"))
	write(t, s, "rolebindings", "ns", "binder", binding("ClusterRole", "binder", "bob"))
	a := rbac.New(slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx, s) }()
	defer func() { stop(); <-done }()
	<-a.Ready()

	jane := resource.User{Name: "jane", Groups: []string{"system:authenticated"}}
	lacking := "user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n" + `{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}`
	aggregating := role()
	aggregating.AggregationRule = &rbacv1.AggregationRule{}
	if err := json.Unmarshal([]byte(`{"clusterRoleSelectors":[{}]}`), aggregating.AggregationRule); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		user      resource.User
		resource  string
		namespace string
		object    any
		old       any
		want      string // part of the error; empty means let through
	}{
		{"role with what one has", jane, "roles", "ns", role(rule("get", "", "pods")), nil, ""},
		{"role with more", jane, "roles", "ns", role(rule("get,delete", "", "pods")), nil, lacking},
		{"the same in another namespace", jane, "roles", "other", role(rule("get", "", "pods")), nil, "is attempting to grant"},
		{"cluster role from rights in a namespace", jane, "clusterroles", "", role(rule("get", "", "pods")), nil, "is attempting to grant"},
		{"metadata of a stronger role", jane, "roles", "ns", role(rule("delete", "", "pods")), role(rule("delete", "", "pods")), ""},
		{"stronger role made stronger", jane, "roles", "ns", role(rule("delete,list", "", "pods")), role(rule("delete", "", "pods")), "is attempting to grant"},
		{"aggregation", jane, "clusterroles", "", aggregating, nil, "must have cluster-admin privileges to use the aggregationRule"},
		{"taking aggregation away", jane, "clusterroles", "", role(), aggregating, "must have cluster-admin privileges"},
		{"masters", resource.User{Name: "root", Groups: []string{"system:masters"}}, "clusterroles", "", aggregating, nil, ""},
		{"with escalate", resource.User{Name: "eve"}, "roles", "ns", role(rule("*", "*", "*")), nil, ""},
		{"escalate elsewhere", resource.User{Name: "eve"}, "roles", "other", role(rule("*", "*", "*")), nil, "is attempting to grant"},
		{"binding what one has", jane, "rolebindings", "ns", binding("ClusterRole", "weak", "x"), nil, ""},
		{"binding more", jane, "rolebindings", "ns", binding("ClusterRole", "strong", "x"), nil, lacking},
		{"binding everywhere", jane, "clusterrolebindings", "", binding("ClusterRole", "weak", "x"), nil, "is attempting to grant"},
		{"binding nothing", jane, "rolebindings", "ns", binding("Role", "nowhere", "x"), nil, `roles.rbac.authorization.k8s.io "nowhere" not found`},
		{"with bind", resource.User{Name: "bob"}, "rolebindings", "ns", binding("ClusterRole", "strong", "x"), nil, ""},
		{"bind of another role", resource.User{Name: "bob"}, "rolebindings", "ns", binding("ClusterRole", "weak", "x"), nil, "is attempting to grant"},
		{"another kind", jane, "pods", "ns", map[string]any{}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &resource.Request{Operation: resource.Create, User: c.user, Namespace: c.namespace, Name: "new",
				Resource: rbacv1.SchemeGroupVersion.WithResource(c.resource)}
			if m, ok := c.object.(map[string]any); ok {
				r.Resource, r.Object = schema.GroupVersionResource{Version: "v1", Resource: c.resource}, m
			} else {
				r.Object = tree(c.object)
			}
			if c.old != nil {
				r.Operation, r.Old = resource.Update, tree(c.old)
			}
			err := rbac.Guard(a, a).Prepare(t.Context(), r)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
			if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
				t.Errorf("%T is neither Forbidden nor NotFound", err)
			}
		})
	}
}
