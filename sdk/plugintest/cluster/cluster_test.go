package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const crd = `
apiVersion: v1
kind: ConfigMap
metadata: {name: not-a-definition}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.example.dev}
spec:
  group: example.dev
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear, listKind: GearList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              teeth: {type: integer, minimum: 3, default: 12}
`

var gears = schema.GroupVersionResource{Group: "example.dev", Version: "v1", Resource: "gears"}

func gear(name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.dev/v1", "kind": "Gear",
		"metadata": map[string]any{"name": name, "namespace": "default"}, "spec": spec,
	}}
}

func writeCRD(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gears.yaml")
	if err := os.WriteFile(path, []byte(crd), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func clients(t *testing.T, c *cluster.Cluster) (*kubernetes.Clientset, *dynamic.DynamicClient) {
	t.Helper()
	typed, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return typed, dynamic.NewForConfigOrDie(c.Config)
}

func TestAPI(t *testing.T) {
	begun := time.Now()
	c := cluster.Start(t, cluster.Options{CRDs: []string{filepath.Dir(writeCRD(t))}})
	t.Logf("started in %s", time.Since(begun))
	typed, dyn := clients(t, c)
	ctx := t.Context()

	t.Run("watch and server-side apply", func(t *testing.T) {
		maps := typed.CoreV1().ConfigMaps("default")
		w, err := maps.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		apply := corev1ac.ConfigMap("m", "default").WithData(map[string]string{"a": "b"})
		if _, err := maps.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
			t.Fatal(err)
		}
		if e := <-w.ResultChan(); e.Type != watch.Added {
			t.Errorf("event %v", e)
		}
		apply.WithData(map[string]string{"a": "c"})
		if _, err := maps.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: "two"}); !apierrors.IsConflict(err) {
			t.Errorf("another manager's field: %v", err)
		}
	})
	t.Run("custom resources", func(t *testing.T) {
		got, err := dyn.Resource(gears).Namespace("default").Create(ctx, gear("g", map[string]any{}), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if teeth, _, _ := unstructured.NestedInt64(got.Object, "spec", "teeth"); teeth != 12 {
			t.Errorf("default not set: %v", got.Object)
		}
		_, err = dyn.Resource(gears).Namespace("default").Create(ctx, gear("h", map[string]any{"teeth": int64(1)}), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) {
			t.Errorf("too few teeth: %v", err)
		}
	})
	t.Run("dry run", func(t *testing.T) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}
		got, err := typed.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil || got.Spec.RestartPolicy != corev1.RestartPolicyAlways {
			t.Errorf("%v, %+v", err, got)
		}
		if _, err := typed.CoreV1().Pods("default").Get(ctx, "p", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("it was written: %v", err)
		}
	})
	t.Run("kubeconfig", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := c.WriteKubeconfig(path); err != nil {
			t.Fatal(err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerVersion(); err != nil || v.Minor != "36" {
			t.Errorf("%v, %v", v, err)
		}
	})
	t.Run("who is not known", func(t *testing.T) {
		config := *c.Config
		config.BearerToken = ""
		if _, err := kubernetes.NewForConfigOrDie(&config).CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestStartsFast(t *testing.T) {
	best := time.Hour
	for range 3 {
		begun := time.Now()
		c, err := cluster.New(t.Context(), cluster.Options{Plugins: []cluster.Plugin{{Impl: &gearbox{}}}, RBAC: true})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		best = min(best, took)
	}
	t.Logf("with RBAC and a plugin: %s", best)
	if best > 2*time.Second { // 300 ms and less on a machine with nothing else to do, without -race
		t.Errorf("the best of three starts took %s", best)
	}
}

func TestRBAC(t *testing.T) {
	c := cluster.Start(t, cluster.Options{RBAC: true})
	admin, _ := clients(t, c)
	eve := kubernetes.NewForConfigOrDie(c.User("eve", "readers"))
	ctx := t.Context()
	if _, err := eve.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v", err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "readers"}},
	}
	if _, err := admin.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := eve.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		return err
	})
	if err := eve.CoreV1().ConfigMaps("default").Delete(ctx, "x", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a reader deletes: %v", err)
	}
}

func TestControllers(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Controllers: true})
	typed, _ := clients(t, c)
	ctx := t.Context()
	owner, err := typed.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: "owned", OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap"))},
	}}
	if _, err := typed.CoreV1().ConfigMaps("default").Create(ctx, owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := typed.CoreV1().ConfigMaps("default").Delete(ctx, "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := typed.CoreV1().ConfigMaps("default").Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("what was owned is still there"))
	})
}

func TestPlugin(t *testing.T) {
	c := cluster.Start(t, cluster.Options{
		Plugins: []cluster.Plugin{{Impl: &gearbox{}, Settings: json.RawMessage(`{"phase":"Turning"}`)}}, RBAC: true,
	})
	typed, dyn := clients(t, c)
	ctx := t.Context()
	create := func(name string, teeth int64) error {
		_, err := dyn.Resource(gears).Namespace("default").Create(ctx, gear(name, map[string]any{"teeth": teeth}), metav1.CreateOptions{})
		return err
	}
	if err := create("odd", 13); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.teeth: Invalid value: 13: must be even") {
		t.Errorf("the type's own rule: %v", err)
	}
	turns := func(name string) {
		t.Helper()
		if err := create(name, 14); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			u, err := dyn.Resource(gears).Namespace("default").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase != "Turning" {
				return errors.New("phase " + phase)
			}
			return nil
		})
	}
	turns("before")
	if err := c.RestartPlugin(ctx, "gearbox"); err != nil {
		t.Fatal(err)
	}
	turns("after")
	// It has what its Info asks for, and no more.
	if role, err := typed.RbacV1().ClusterRoles().Get(ctx, "pintle:plugin:gearbox", metav1.GetOptions{}); err != nil || len(role.Rules) != 2 {
		t.Errorf("%v, %+v", err, role)
	}
	if lines, err := c.PluginLogs("gearbox"); err != nil || len(lines) == 0 {
		t.Errorf("no logs: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "none.yaml")
	if err := os.WriteFile(empty, []byte("apiVersion: v1\nkind: ConfigMap\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		options cluster.Options
		want    string
	}{
		"no implementation": {cluster.Options{Plugins: []cluster.Plugin{{}}}, "plugins[0]: exactly one of Impl and Command"},
		"bad settings": {
			cluster.Options{Plugins: []cluster.Plugin{{Impl: &gearbox{}, Settings: json.RawMessage(`{"phases":"x"}`)}}},
			"settings.phases",
		},
		"no file":       {cluster.Options{CRDs: []string{"/nowhere.yaml"}}, "/nowhere.yaml"},
		"no definition": {cluster.Options{CRDs: []string{empty}}, "there is no CustomResourceDefinition in " + empty},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), cluster.Patience)
			defer cancel()
			c, err := cluster.New(ctx, tc.options)
			if err == nil {
				_ = c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	var last error
	if wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, cluster.Patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	}) != nil {
		t.Fatal(last)
	}
}

// gearbox offers a type with a rule of its own and sets its objects' phase.
type gearbox struct{ phase string }

func (*gearbox) Info() plugin.Info {
	return plugin.Info{Name: "gearbox", Version: "1.0.0", Permissions: []rbacv1.PolicyRule{
		{APIGroups: []string{"example.dev"}, Resources: []string{"gears"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"example.dev"}, Resources: []string{"gears/status"}, Verbs: []string{"patch"}},
	}}
}

func (*gearbox) ConfigSchema() []byte {
	return []byte(`{"type":"object","properties":{"phase":{"type":"string","default":"Still"}}}`)
}

func (g *gearbox) Configure(_ context.Context, raw []byte) error {
	s := struct {
		Phase string `json:"phase"`
	}{}
	err := plugin.DecodeSettings(raw, &s)
	g.phase = s.Phase
	return err
}

func (*gearbox) Definitions() ([]*resource.Definition, error) {
	text := `{"type":"object","properties":{
		"spec":{"type":"object","properties":{"teeth":{"type":"integer"}}},
		"status":{"type":"object","properties":{"phase":{"type":"string"}}}}}`
	return []*resource.Definition{{
		Group: gears.Group, Scope: resource.NamespaceScoped,
		Names: resource.Names{Plural: "gears", Singular: "gear", Kind: "Gear", ListKind: "GearList"},
		Versions: []resource.Version{{
			Name: "v1", Served: true, Storage: true, Status: true,
			Schema: func() (*resource.Schema, error) {
				s := &resource.Schema{}
				return s, json.Unmarshal([]byte(text), s)
			},
		}},
	}}, nil
}

func (*gearbox) Hooks(schema.GroupResource) any { return evenTeeth{} }

type evenTeeth struct{}

func (evenTeeth) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	if teeth, _, _ := unstructured.NestedInt64(r.Object, "spec", "teeth"); teeth%2 != 0 {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "teeth"), teeth, "must be even")}
	}
	return nil
}

func (g *gearbox) Run(ctx context.Context, env plugin.Env) error {
	client, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	w, err := client.Resource(gears).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.ResultChan():
			if !ok {
				return errors.New("the watch has ended")
			}
			u, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type != watch.Added {
				continue
			}
			patch := []byte(`{"status":{"phase":"` + g.phase + `"}}`)
			if _, err := client.Resource(gears).Namespace(u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
				return err
			}
		}
	}
}
