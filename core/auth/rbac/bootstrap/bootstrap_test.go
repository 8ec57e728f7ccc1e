package bootstrap_test

import (
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/core/auth/rbac/bootstrap"
)

func client(objects ...runtime.Object) *fake.FakeDynamicClient {
	kinds := map[schema.GroupVersionResource]string{{Version: "v1", Resource: "namespaces"}: "NamespaceList"}
	for r, k := range map[string]string{"clusterroles": "ClusterRole", "clusterrolebindings": "ClusterRoleBinding", "roles": "Role", "rolebindings": "RoleBinding"} {
		kinds[rbacv1.SchemeGroupVersion.WithResource(r)] = k + "List"
	}
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)
}

func writes(c *fake.FakeDynamicClient) (out []string) {
	for _, a := range c.Actions() {
		if v := a.GetVerb(); v != "get" && v != "list" {
			out = append(out, v+" "+a.GetResource().Resource)
		}
	}
	return out
}

func get(t *testing.T, c *fake.FakeDynamicClient, resource, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := c.Resource(rbacv1.SchemeGroupVersion.WithResource(resource)).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEnsureCreatesAndThenLeavesAlone(t *testing.T) {
	c := client()
	if err := bootstrap.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	policy, err := bootstrap.Policy()
	if err != nil {
		t.Fatal(err)
	}
	want := 4 + len(policy.ClusterRoles) + len(policy.ClusterRoleBindings) + len(policy.Roles) + len(policy.RoleBindings)
	if n := len(writes(c)); n != want || n < 130 {
		t.Errorf("%d writes, want %d", n, want)
	}
	for _, name := range []string{"cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user",
		"system:public-info-viewer", "system:node", "system:kube-scheduler", "system:kube-controller-manager"} {
		if o := get(t, c, "clusterroles", "", name); o.GetLabels()["kubernetes.io/bootstrapping"] != "rbac-defaults" {
			t.Errorf("%s: labels %v", name, o.GetLabels())
		}
	}
	get(t, c, "roles", "kube-system", "extension-apiserver-authentication-reader")
	c.ClearActions()
	if err := bootstrap.Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if w := writes(c); len(w) != 0 {
		t.Errorf("a second start writes: %v", w)
	}
}

// Every binding leads to a role that exists.
func TestPolicyIsClosed(t *testing.T) {
	p, err := bootstrap.Policy()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range p.ClusterRoles {
		if known["ClusterRole/"+r.Name] {
			t.Errorf("cluster role %s is there twice", r.Name)
		}
		known["ClusterRole/"+r.Name] = true
		if (r.AggregationRule == nil) == (len(r.Rules) == 0) {
			t.Errorf("cluster role %s needs either rules or aggregation", r.Name)
		}
	}
	for _, r := range p.Roles {
		known[r.Namespace+"/"+r.Name] = true
	}
	for _, b := range p.ClusterRoleBindings {
		if !known["ClusterRole/"+b.RoleRef.Name] {
			t.Errorf("cluster role binding %s refers to %s", b.Name, b.RoleRef.Name)
		}
	}
	for _, b := range p.RoleBindings {
		if !known["ClusterRole/"+b.RoleRef.Name] && !known[b.Namespace+"/"+b.RoleRef.Name] {
			t.Errorf("role binding %s refers to %s", b.Name, b.RoleRef.Name)
		}
	}
}

func TestEnsureReconciles(t *testing.T) {
	const auto = "rbac.authorization.kubernetes.io/autoupdate"
	role := func(annotation string, rules ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"metadata": map[string]any{"name": "system:basic-user", "annotations": map[string]any{auto: annotation}}, "rules": rules,
		}}
	}
	own := map[string]any{"verbs": []any{"get"}, "apiGroups": []any{"x"}, "resources": []any{"y"}}
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
		"metadata": map[string]any{"name": "cluster-admin", "annotations": map[string]any{auto: "true"}, "uid": "1"},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
	}}
	t.Run("adds what is missing and keeps the rest", func(t *testing.T) {
		c := client(role("true", own), binding.DeepCopy())
		if err := bootstrap.Ensure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		rules, _, _ := unstructured.NestedSlice(get(t, c, "clusterroles", "", "system:basic-user").Object, "rules")
		if len(rules) != 3 || rules[0].(map[string]any)["apiGroups"].([]any)[0] != "x" {
			t.Errorf("rules %v", rules)
		}
		ref, _, _ := unstructured.NestedString(get(t, c, "clusterrolebindings", "", "cluster-admin").Object, "roleRef", "name")
		if ref != "cluster-admin" {
			t.Errorf("the binding refers to %s", ref)
		}
	})
	t.Run("not where told not to", func(t *testing.T) {
		c := client(role("false", own))
		if err := bootstrap.Ensure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		rules, _, _ := unstructured.NestedSlice(get(t, c, "clusterroles", "", "system:basic-user").Object, "rules")
		if len(rules) != 1 {
			t.Errorf("rules %v", rules)
		}
	})
	t.Run("says what failed", func(t *testing.T) {
		c := client()
		c.PrependReactor("create", "roles", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("disk full")
		})
		err := bootstrap.Ensure(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "Role kube-") || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("error %v", err)
		}
	})
}
