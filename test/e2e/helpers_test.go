package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// buildWidget builds the example plugin from its own module and returns its checksum.
func buildWidget(root, dir string) (binary, sum string, err error) {
	binary = filepath.Join(dir, "widget")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join(root, "sdk", "examples", "widget")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("building the widget plugin: %w\n%s", err, out)
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		return "", "", err
	}
	s := sha256.Sum256(b)
	return binary, hex.EncodeToString(s[:]), nil
}

// hello is a Deployment of the demo image.
func hello(ns string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello, namespace: %s, labels: {app: hello}}
spec:
  replicas: %d
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: pintle.dev/hello:v1
        ports: [{containerPort: 8080, name: http}]
        env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
`, ns, replicas)
}

// pods of a namespace with the label app=hello.
func pods(t *testing.T, ns string) []corev1.Pod {
	t.Helper()
	l, err := cluster.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=hello"})
	if err != nil {
		t.Fatalf("pods: %v", err)
	}
	return l.Items
}

func waitAvailable(t *testing.T, ns string) {
	t.Helper()
	kubectl(t, "-n", ns, "wait", "--for=condition=Available", "deployment/hello", "--timeout=60s")
	kubectl(t, "-n", ns, "rollout", "status", "deployment/hello", "--timeout=60s")
}

// containerProcess returns the id of the demo's process in a pod, as the machine sees it.
func containerProcess(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !strings.Contains(string(env), "POD_NAME="+pod.Name+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err == nil {
			return pid
		}
	}
	t.Fatalf("no process of pod %s", pod.Name)
	return 0
}

// containers maps the running containers of a namespace to when they were started.
func containers(t *testing.T, ns string) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	for _, p := range pods(t, ns) {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running != nil {
				out[c.ContainerID] = c.State.Running.StartedAt.Time
			}
		}
	}
	return out
}

func sameContainers(a, b map[string]time.Time) bool {
	if len(a) != len(b) {
		return false
	}
	for id, at := range a {
		if !b[id].Equal(at) {
			return false
		}
	}
	return true
}

func sha256File(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// try2 is try for clean-ups, when the test's context has ended.
func try2(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// secondCluster starts a control plane without a node, with more configuration, and
// returns its data directory; it ends with the test.
func secondCluster(t *testing.T, port, more string) (data string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle-e2e") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(config, []byte("api: {listen: \"127.0.0.1:"+port+"\"}\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	data = filepath.Join(dir, "data")
	t.Cleanup(func() {
		if out, err := try2(cluster.pintle, "down", "--data-dir", data); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	run(t, cluster.pintle, "up", "--data-dir", data, "--config", config)
	return data
}
