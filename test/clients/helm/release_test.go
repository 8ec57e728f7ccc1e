package helm

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/test/process"
)

const (
	chart     = "testdata/shop"
	namespace = "market"
)

// A chart of most kinds goes through its whole life: each step takes up what the one before
// it left.
func TestRelease(t *testing.T) {
	s := newSuite(t)
	steps := []struct {
		name string
		do   func(*testing.T, *suite)
	}{
		{"install", install},
		{"what is shown", shown},
		{"tests", tests},
		{"upgrade", upgrade},
		{"conflict", conflict},
		{"failed upgrades", failedUpgrades},
		{"rollback", rollback},
		{"uninstall", uninstall},
	}
	for _, step := range steps {
		if !t.Run(step.name, func(t *testing.T) { step.do(t, s) }) {
			return
		}
	}
}

func install(t *testing.T, s *suite) {
	out := s.helm(t, "install", "shop", chart, "-n", namespace, "--create-namespace", "--wait", "--wait-for-jobs", "--timeout", "90s", "-o", "json")
	r := parse[release](t, out)
	if r.Info.Status != "deployed" || r.Version != 1 || r.Method != "ssa" {
		t.Errorf("status %q, version %d, applied by %q", r.Info.Status, r.Version, r.Method)
	}
	if !strings.Contains(r.Info.Notes, "serves shop:v1 on Kubernetes v1.36") || !strings.Contains(r.Info.Notes, "with gadgets") {
		t.Errorf("notes: %q", r.Info.Notes)
	}
	kinds := map[string]bool{}
	for _, want := range objects(t, r.Manifest) {
		kinds[want.GetKind()] = true
		got, err := s.get(t, want, namespace)
		if err != nil {
			t.Errorf("%s %s: %v", want.GetKind(), want.GetName(), err)
			continue
		}
		if got.GetAnnotations()["meta.helm.sh/release-name"] != "shop" {
			t.Errorf("%s %s does not say whose it is: %v", want.GetKind(), want.GetName(), got.GetAnnotations())
		}
		if !slices.ContainsFunc(got.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == "helm" && f.Operation == metav1.ManagedFieldsOperationApply && f.Subresource == ""
		}) {
			t.Errorf("%s %s is not applied by helm: %v", want.GetKind(), want.GetName(), got.GetManagedFields())
		}
	}
	if len(kinds) < 35 {
		t.Errorf("the chart has %d kinds only: %v", len(kinds), kinds)
	}
	ready(t, s, 2, "shop:v1")
	ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.configMap(t, namespace, "shop").Data["cluster"]; got != string(ns.UID) {
		t.Errorf("lookup finds %q, want the UID %q", got, ns.UID)
	}
	ran(t, r, "pre-install", "post-install")
	if _, err := s.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "shop-before", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the hook that is deleted when it succeeded is there: %v", err)
	}
	// The definition and the policy of the chart act.
	gadget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "shop.example.com/v1", "kind": "Gadget", "metadata": map[string]any{"name": "shop"},
	}}
	if gadget, err = s.get(t, gadget, namespace); err != nil {
		t.Fatal(err)
	}
	if size, _, _ := unstructured.NestedInt64(gadget.Object, "spec", "size"); size != 7 {
		t.Errorf("the gadget's size is %d, want the default 7", size)
	}
}

// ready holds the chart's Deployment to having rolled out.
func ready(t *testing.T, s *suite, replicas int32, image string) *appsv1.Deployment {
	t.Helper()
	d, err := s.client.AppsV1().Deployments(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := d.Spec.Template.Spec.Containers[0].Image
	if d.Status.ReadyReplicas != replicas || d.Status.UpdatedReplicas != replicas || *d.Spec.Replicas != replicas || got != image {
		t.Errorf("image %q, want %q with %d replicas: %d wanted, status %+v", got, image, replicas, *d.Spec.Replicas, d.Status)
	}
	return d
}

// ran holds a release to having run the hook Jobs of these events to their end in this order.
func ran(t *testing.T, r release, events ...string) {
	t.Helper()
	var last hook
	for _, event := range events {
		i := slices.IndexFunc(r.Hooks, func(h hook) bool { return h.Kind == "Job" && slices.Contains(h.Events, event) })
		if i < 0 {
			t.Errorf("no hook for %s", event)
			continue
		}
		h := r.Hooks[i]
		if h.LastRun.Phase != "Succeeded" || h.LastRun.Started.Before(last.LastRun.Completed) {
			t.Errorf("%s: %+v, after %+v", event, h.LastRun, last.LastRun)
		}
		last = h
	}
}

func shown(t *testing.T, s *suite) {
	type item struct{ Name, Namespace, Revision, Status, Chart, App_version string } //nolint:revive,staticcheck // Helm's name
	want := item{Name: "shop", Namespace: namespace, Revision: "1", Status: "deployed", Chart: "shop-1.0.0", App_version: "1"}
	if got := parse[[]item](t, s.helm(t, "list", "-A", "-o", "json")); !slices.Equal(got, []item{want}) {
		t.Errorf("list: %+v", got)
	}
	if got := s.helm(t, "list", "-n", "default", "-q"); strings.TrimSpace(got) != "" {
		t.Errorf("list in another namespace: %q", got)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"history", "shop"}, []string{"Install complete", "deployed", "shop-1.0.0"}},
		{[]string{"get", "values", "shop", "--all"}, []string{"color: green", "image: shop:v1"}},
		{[]string{"get", "manifest", "shop"}, []string{"kind: PriorityLevelConfiguration"}},
		{[]string{"get", "hooks", "shop"}, []string{"helm.sh/hook: pre-install"}},
		{[]string{"get", "notes", "shop"}, []string{"serves shop:v1"}},
		{[]string{"get", "metadata", "shop"}, []string{"APPLY_METHOD: server-side apply"}},
		{[]string{"get", "all", "shop"}, []string{"STATUS: deployed", "USER-SUPPLIED VALUES"}},
		{[]string{"status", "shop"}, []string{"==> v1/ConfigMap", "==> v1/Deployment", "UP-TO-DATE", "==> v1/Gadget"}},
	} {
		out := s.helm(t, append(c.args, "-n", namespace)...)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%v: no %q in %s", c.args, w, out)
			}
		}
	}
}

func tests(t *testing.T, s *suite) {
	out := s.helm(t, "test", "shop", "-n", namespace, "--timeout", "60s")
	if !strings.Contains(out, "shop-reachable") || !strings.Contains(out, "Succeeded") {
		t.Error(out)
	}
}

func upgrade(t *testing.T, s *suite) {
	secrets := s.client.CoreV1().Secrets(namespace)
	before, err := secrets.Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// What others add stays theirs.
	if _, err := s.client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"example.com/seen":"yes"}}}`), metav1.PatchOptions{FieldManager: "someone"}); err != nil {
		t.Fatal(err)
	}
	dry := parse[release](t, s.helm(t, "upgrade", "shop", chart, "-n", namespace, "--set", "replicas=4", "--dry-run=server", "-o", "json"))
	if dry.Info.Status != "pending-upgrade" || dry.Version != 2 {
		t.Errorf("dry run: %q %d", dry.Info.Status, dry.Version)
	}
	ready(t, s, 2, "shop:v1")

	s.helm(t, "upgrade", "shop", chart, "-n", namespace, "--wait", "--timeout", "90s",
		"--set", "replicas=3,image=shop:v2,sideImage=shop:v2,color=red,extra=false")
	d := ready(t, s, 3, "shop:v2")
	if d.Annotations["example.com/seen"] != "yes" {
		t.Errorf("another's annotation is lost: %v", d.Annotations)
	}
	if _, err := s.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "shop-extra", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what the chart has no longer is there: %v", err)
	}
	if c := s.configMap(t, namespace, "shop"); c.Data["color"] != "red" || c.Data["revision"] != "2" {
		t.Errorf("data %v", c.Data)
	}
	after, err := secrets.Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Data["password"]) != 20 || string(after.Data["password"]) != string(before.Data["password"]) {
		t.Errorf("the password changed: %q, was %q", after.Data["password"], before.Data["password"])
	}
	r := s.status(t, "shop", namespace)
	ran(t, r, "pre-upgrade", "post-upgrade")
	if out := s.helm(t, "history", "shop", "-n", namespace); !strings.Contains(out, "superseded") || !strings.Contains(out, "Upgrade complete") {
		t.Error(out)
	}
}

// Another manager takes a field of the release: Helm is told, and takes it back only when it
// is asked to.
func conflict(t *testing.T, s *suite) {
	force := true
	if _, err := s.client.CoreV1().ConfigMaps(namespace).Patch(t.Context(), "shop", types.ApplyPatchType,
		[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shop"},"data":{"color":"blue"}}`),
		metav1.PatchOptions{FieldManager: "painter", Force: &force}); err != nil {
		t.Fatal(err)
	}
	args := []string{"upgrade", "shop", chart, "-n", namespace, "--no-hooks", "--reuse-values", "--set", "color=green"}
	s.fails(t, []string{"conflict", `"painter"`, ".data.color"}, args...)
	if r := s.status(t, "shop", namespace); r.Info.Status != "failed" || r.Version != 3 {
		t.Errorf("after a conflict: %q %d", r.Info.Status, r.Version)
	}
	if got := s.configMap(t, namespace, "shop").Data["color"]; got != "blue" {
		t.Errorf("color %q", got)
	}
	s.helm(t, append(args, "--force-conflicts")...)
	if got := s.configMap(t, namespace, "shop").Data["color"]; got != "green" {
		t.Errorf("color %q", got)
	}
}

func failedUpgrades(t *testing.T, s *suite) {
	from := s.status(t, "shop", namespace).Version
	base := []string{"upgrade", "shop", chart, "-n", namespace, "--reuse-values"}
	// An image that nobody can pull: the wait ends and the release is taken back.
	s.fails(t, []string{"Deployment/market/shop"},
		append(base, "--set", "image=broken:v1", "--no-hooks", "--wait", "--rollback-on-failure", "--timeout", "15s")...)
	if r := s.status(t, "shop", namespace); r.Info.Status != "deployed" || r.Version != from+2 {
		t.Errorf("taken back: %q %d, after %d", r.Info.Status, r.Version, from)
	}
	ready(t, s, 3, "shop:v2")
	// A hook that fails: nothing else is touched.
	s.fails(t, []string{"pre-upgrade hooks failed", "shop-pre-upgrade"},
		append(base, "--set", "hookCommand=fail,color=blue", "--timeout", "30s")...)
	if r := s.status(t, "shop", namespace); r.Info.Status != "failed" {
		t.Errorf("after a failed hook: %q", r.Info.Status)
	}
	if got := s.configMap(t, namespace, "shop").Data["color"]; got != "green" {
		t.Errorf("color %q after a failed hook", got)
	}
	// What the server refuses is said with its field.
	for _, c := range []struct {
		set   string
		words []string
	}{
		{"invalid=true", []string{"replicass"}},
		{"color=pink", []string{`Gadget.shop.example.com "shop" is invalid`, "spec.color", "Unsupported value"}},
		{"replicas=-1", []string{"replicas"}},
	} {
		s.fails(t, c.words, append(base, "--no-hooks", "--set", c.set)...)
	}
}

func rollback(t *testing.T, s *suite) {
	s.helm(t, "rollback", "shop", "1", "-n", namespace, "--wait", "--timeout", "90s")
	ready(t, s, 2, "shop:v1")
	if c := s.configMap(t, namespace, "shop"); c.Data["color"] != "green" || c.Data["revision"] != "1" {
		t.Errorf("data %v", c.Data)
	}
	if got := s.configMap(t, namespace, "shop-extra").BinaryData["bytes"]; !slices.Equal(got, []byte{0, 1, 2, 3}) {
		t.Errorf("bytes %v", got)
	}
	r := s.status(t, "shop", namespace)
	ran(t, r, "pre-rollback", "post-rollback")
	if out := s.helm(t, "history", "shop", "-n", namespace); !strings.Contains(out, "Rollback to 1") {
		t.Error(out)
	}
}

func uninstall(t *testing.T, s *suite) {
	all := objects(t, s.status(t, "shop", namespace).Manifest)
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return o.GetName() == "shop-kept" })
	out := s.helm(t, "uninstall", "shop", "-n", namespace, "--wait", "--timeout", "60s")
	if !strings.Contains(out, "[ConfigMap] shop-kept") {
		t.Errorf("nothing is said of what is kept: %s", out)
	}
	if err := s.gone(t, all, namespace); err != nil {
		t.Error(err)
	}
	if c := s.configMap(t, namespace, "shop-kept"); c.Data["kept"] != "true" {
		t.Errorf("kept: %v", c.Data)
	}
	if got := s.helm(t, "list", "-A", "-q"); strings.TrimSpace(got) != "" {
		t.Errorf("list: %q", got)
	}
	s.fails(t, []string{"not found"}, "status", "shop", "-n", namespace)
	process.Eventually(t, time.Minute, "the release's pods are gone, those of hooks aside", func() error {
		pods, err := s.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app"})
		if err == nil && len(pods.Items) > 0 {
			return apierrors.NewTooManyRequestsError(pods.Items[0].Name)
		}
		return err
	})
	// Definitions of a chart outlive it.
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "gadgets.shop.example.com"},
	}}
	if _, err := s.get(t, crd, namespace); err != nil {
		t.Error(err)
	}
}
