package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func TestBadInputGetsAClearError(t *testing.T) {
	ns := namespace(t)
	client, err := rest.HTTPClientFor(cluster.rest)
	if err != nil {
		t.Fatal(err)
	}
	first, err := cluster.client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "1"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.client.CoreV1().ConfigMaps(ns).Patch(t.Context(), "kept", "application/merge-patch+json", []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	stale := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept","resourceVersion":%q},"data":{"a":"3"}}`, first.ResourceVersion)
	maps := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, tc := range []struct {
		name, method, path, body string
		code                     int
		reason                   metav1.StatusReason
		want                     string
	}{
		{"malformed JSON", "POST", maps, `{"apiVersion":"v1",`, 400, metav1.StatusReasonBadRequest, ""},
		{"another kind's body", "POST", maps, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`, 400, metav1.StatusReasonBadRequest, "Secret"},
		{"unknown field, strict", "POST", maps + "?fieldValidation=Strict", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}}`, 400, metav1.StatusReasonBadRequest, `unknown field "dta"`},
		{"body over the limit", "POST", maps, `{"data":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`, 413, metav1.StatusReasonRequestEntityTooLarge, "limit"},
		{"missing namespace", "POST", "/api/v1/namespaces/nowhere/configmaps", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`, 404, metav1.StatusReasonNotFound, `namespaces "nowhere" not found`},
		{"bad name", "POST", maps, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Not_A_Name"}}`, 422, metav1.StatusReasonInvalid, "metadata.name"},
		{"stale resourceVersion", "PUT", maps + "/kept", stale, 409, metav1.StatusReasonConflict, "the object has been modified"},
		{"a name that is taken", "POST", maps, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"}}`, 409, metav1.StatusReasonAlreadyExists, `"kept" already exists`},
		{"no such object", "GET", maps + "/nosuch", "", 404, metav1.StatusReasonNotFound, `configmaps "nosuch" not found`},
		{"no such resource", "GET", "/api/v1/nosuch", "", 404, metav1.StatusReasonNotFound, "could not find the requested resource"},
		{"bad selector", "GET", maps + "?labelSelector=a%20b%20c", "", 400, metav1.StatusReasonBadRequest, "unable to parse requirement"},
		{"a continue token of nobody", "GET", maps + "?limit=1&continue=bm9uZQ", "", 400, metav1.StatusReasonBadRequest, "continue"},
		{"no pod without containers", "POST", "/api/v1/namespaces/" + ns + "/pods", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[]}}`, 422, metav1.StatusReasonInvalid, "spec.containers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, cluster.rest.Host+tc.path, bytes.NewReader([]byte(tc.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var st metav1.Status
			if err := json.Unmarshal(b, &st); err != nil {
				t.Fatalf("%d, not a Status: %.300s", resp.StatusCode, b)
			}
			if resp.StatusCode != tc.code || st.Reason != tc.reason || !strings.Contains(st.Message, tc.want) {
				t.Errorf("got %d %s %q, want %d %s with %q", resp.StatusCode, st.Reason, st.Message, tc.code, tc.reason, tc.want)
			}
		})
	}
	kept, err := cluster.client.CoreV1().ConfigMaps(ns).Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || kept.Data["a"] != "2" {
		t.Errorf("the object did not survive: %v %v", kept, err)
	}
}

// TestExpiredWatchIsGone uses a server that keeps a second of history.
func TestExpiredWatchIsGone(t *testing.T) {
	data := secondCluster(t, "16447", "store: {historyWindow: 1s}\n")
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(data, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	first, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "first"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seconds := int64(1)
	eventually(t, 60*time.Second, "the first revision is too old to watch from", func() error {
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "more-"}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		w, err := client.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: first.ResourceVersion, TimeoutSeconds: &seconds})
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer w.Stop()
		for e := range w.ResultChan() {
			if st, ok := e.Object.(*metav1.Status); ok && st.Code == http.StatusGone && st.Reason == metav1.StatusReasonExpired {
				return nil
			}
		}
		return errors.New("the watch was served")
	})
}

func TestImagesFromARegistry(t *testing.T) {
	ns := namespace(t)
	manifest := `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "%[3]s/%[4]s"}]
`
	apply(t, fmt.Sprintf(manifest, "pulled", ns, cluster.registry, "sleeper:v1"))
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/pulled", "--timeout=60s")
	if out := kubectl(t, "-n", ns, "logs", "pulled"); !strings.Contains(out, "from the registry") {
		t.Errorf("logs: %s", out)
	}
	if out := run(t, cluster.pintle, "image", "list"); !strings.Contains(out, "sleeper:v1") {
		t.Errorf("image list:\n%s", out)
	}
	apply(t, fmt.Sprintf(manifest, "missing", ns, cluster.registry, "nosuch:v1"))
	var reasons []string
	limit := int64(60)
	w, err := cluster.client.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=missing", TimeoutSeconds: &limit})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("event %v", e)
		}
		for _, c := range p.Status.ContainerStatuses {
			if s := c.State.Waiting; s != nil && (len(reasons) == 0 || reasons[len(reasons)-1] != s.Reason) {
				reasons = append(reasons, s.Reason)
			}
		}
		if i := slices.Index(reasons, "ErrImagePull"); i >= 0 && slices.Contains(reasons[i:], "ImagePullBackOff") {
			return
		}
	}
	t.Errorf("the reasons were %v, want ErrImagePull and then ImagePullBackOff", reasons)
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ name, text, want string }{
		{"not YAML", "api: [", "not valid YAML"},
		{"unknown key", "api: {lisen: x}", `"api.lisen"`},
	} {
		file := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := try(t, "", cluster.pintle, "up", "--data-dir", filepath.Join(dir, "data"), "--config", file)
		if err == nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s: got %v\n%s", tc.name, err, out)
		}
	}
}
