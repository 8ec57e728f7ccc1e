package helm

import (
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The chart that `helm create` writes, first merged three ways by the client as Helm 3 did,
// then taken over by server-side apply.
func TestClientSideRelease(t *testing.T) {
	s := newSuite(t)
	web := filepath.Join(t.TempDir(), "web")
	s.helm(t, "create", web)
	deployments := s.client.AppsV1().Deployments("default")
	deploy := func(t *testing.T, serverSide, tag, method string) {
		t.Helper()
		r := parse[release](t, s.helm(t, "upgrade", "--install", "web", web, "-n", "default", "--wait", "--timeout", "60s", "-o", "json",
			"--server-side="+serverSide, "--set", "replicaCount=2,ingress.enabled=true,image.tag="+tag))
		if r.Info.Status != "deployed" || r.Method != method {
			t.Errorf("status %q, applied by %q, want %q", r.Info.Status, r.Method, method)
		}
		for _, want := range objects(t, r.Manifest) {
			if _, err := s.get(t, want, "default"); err != nil {
				t.Errorf("%s %s: %v", want.GetKind(), want.GetName(), err)
			}
		}
	}
	// held says by which operations Helm holds fields of the Deployment.
	held := func(t *testing.T) (by []metav1.ManagedFieldsOperationType) {
		t.Helper()
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range d.ManagedFields {
			if f.Manager == "helm" && f.Subresource == "" {
				by = append(by, f.Operation)
			}
		}
		return by
	}
	// change takes fields of the release and adds others, as users do.
	change := func(t *testing.T) {
		t.Helper()
		if _, err := deployments.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(`{"metadata":{"annotations":{"example.com/seen":"yes"}},
			"spec":{"replicas":5,"template":{"spec":{"containers":[{"name":"web","env":[{"name":"THEIRS","value":"1"}]}]}}}}`),
			metav1.PatchOptions{FieldManager: "someone"}); err != nil {
			t.Fatal(err)
		}
	}
	// merged holds the Deployment to the chart's fields and to those of others.
	merged := func(t *testing.T, image string) {
		t.Helper()
		d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := d.Spec.Template.Spec.Containers[0]
		if *d.Spec.Replicas != 2 || c.Image != image || d.Status.ReadyReplicas != 2 {
			t.Errorf("%d of %d replicas of %s, want 2 of %s", d.Status.ReadyReplicas, *d.Spec.Replicas, c.Image, image)
		}
		if d.Annotations["example.com/seen"] != "yes" || !slices.Equal(c.Env, []corev1.EnvVar{{Name: "THEIRS", Value: "1"}}) {
			t.Errorf("what others added is lost: annotations %v, environment %v", d.Annotations, c.Env)
		}
	}

	deploy(t, "false", "v1", "csa")
	if by := held(t); !slices.Equal(by, []metav1.ManagedFieldsOperationType{metav1.ManagedFieldsOperationUpdate}) {
		t.Errorf("held by %v", by)
	}
	change(t)
	deploy(t, "false", "v2", "csa")
	merged(t, "nginx:v2")

	// Another release may not take the objects of this one.
	s.fails(t, []string{"invalid ownership metadata", `must equal "other"`}, "install", "other", web, "-n", "default", "--set", "fullnameOverride=web")

	deploy(t, "true", "v3", "ssa")
	merged(t, "nginx:v3")
	if by := held(t); !slices.Equal(by, []metav1.ManagedFieldsOperationType{metav1.ManagedFieldsOperationApply}) {
		t.Errorf("taken over, but held by %v", by)
	}
	s.helm(t, "rollback", "web", "1", "-n", "default", "--wait", "--timeout", "60s")
	merged(t, "nginx:v1")
	all := objects(t, s.status(t, "web", "default").Manifest)
	s.helm(t, "uninstall", "web", "-n", "default", "--wait", "--cascade", "foreground", "--timeout", "60s")
	if err := s.gone(t, all, "default"); err != nil {
		t.Error(err)
	}
}
