package cluster_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
	"github.com/pintle-dev/pintle/test/process"
)

// readingPlugin writes down in each config map what it reads while that is admitted: how many
// there are in its namespace, and what another one holds.
type readingPlugin struct{ version string }

func playReader(version string) {
	p := readingPlugin{version}
	serve.Serve(p, points.Of(p)...)
}

func (p readingPlugin) Info() plugin.Info {
	return plugin.Info{Name: "reader", Version: p.version, Permissions: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}},
	}}
}

func (readingPlugin) ConfigSchema() []byte { return nil }

func (readingPlugin) Configure(context.Context, []byte) error { return nil }

func (readingPlugin) Declare() admission.Declaration {
	return admission.Declaration{Rules: []admission.Rule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, Operations: []resource.Operation{resource.Create},
	}}}
}

func (p readingPlugin) Mutate(ctx context.Context, r *admission.Request) (bool, error) {
	maps := schema.GroupResource{Resource: "configmaps"}
	list, err := r.Reader.List(ctx, maps, r.Namespace)
	if err != nil {
		return false, fmt.Errorf("list: %w", err)
	}
	one, err := r.Reader.Get(ctx, maps, r.Namespace, "newest")
	if err != nil {
		return false, fmt.Errorf("get: %w", err)
	}
	data, _ := one["data"].(map[string]any)
	newest, _ := data["is"].(string)
	r.Object["data"] = map[string]any{"count": strconv.Itoa(len(list)), "newest": newest, "version": p.version}
	return true, nil
}

// packReader makes a directory of the plugin.
func packReader(t *testing.T, version string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "reader")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(filepath.Join(dir, "plugin"), os.O_CREATE|os.O_WRONLY, 0o755) //nolint:gosec // guests run it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	manifest := `apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: reader
version: ` + version + `
protocol: 1
points: [admission]
permissions:
- {apiGroups: [""], resources: [configmaps], verbs: [get, list]}
`
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(manifest), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	return dir
}

// Each server asks its own process of an admission plugin, which reads the newest state
// whichever server that is.
func TestAdmissionPluginsReadOnEveryServer(t *testing.T) {
	all := three(t)
	leading := leader(t, all, all[0])
	if out, err := process.Run(t.Context(), nil, process.Pintle(), "plugin", "install", packReader(t, "1.0.0"), "--allow-unsigned", "--grant", "--arg", "reader", "--arg", "1.0.0", "--kubeconfig", leading.Kubeconfig()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	api := leading.client(t).CoreV1()
	if _, err := api.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "read"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, m := range all {
		maps := m.client(t).CoreV1().ConfigMaps("read")
		// A server that has not heard of the plugin yet does not ask it.
		process.Eventually(t, 30*time.Second, m.name+" asks the plugin", func() error {
			probe, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil && probe.Data["count"] == "" {
				err = fmt.Errorf("it was not asked: %v", probe.Data)
			}
			return err
		})
		// What another server has acknowledged is read at once.
		other := all[(i+1)%3].client(t).CoreV1().ConfigMaps("read")
		for round := range 10 {
			want := fmt.Sprintf("%s-%d", m.name, round)
			set := fmt.Sprintf(`{"data":{"is":%q}}`, want)
			if i == 0 && round == 0 {
				if _, err := other.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "newest"}}, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := other.Patch(t.Context(), "newest", "application/merge-patch+json", []byte(set), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			list, err := other.List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: want}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("through %s: %v", m.name, err)
			}
			if got.Data["newest"] != want || got.Data["count"] != strconv.Itoa(len(list.Items)) {
				t.Errorf("through %s, round %d: the plugin read %v, there were %d and %s", m.name, round, got.Data, len(list.Items), want)
			}
		}
	}
}
