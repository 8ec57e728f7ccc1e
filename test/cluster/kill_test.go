package cluster_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

// pluginState is what the status of a Plugin object says.
type pluginState struct {
	version, health, reason string
	pid                     int64
	observed, generation    int64
	upgraded                string // why the condition is as it is
}

func stateOf(u *unstructured.Unstructured) (st pluginState) {
	status, _ := u.Object["status"].(map[string]any)
	st.version, _ = status["version"].(string)
	st.health, _ = status["health"].(string)
	st.reason, _ = status["reason"].(string)
	st.pid, _ = status["pid"].(int64)
	st.observed, _ = status["observedGeneration"].(int64)
	st.generation = u.GetGeneration()
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Upgraded" {
			st.upgraded, _ = m["reason"].(string)
		}
	}
	return st
}

// A server that dies at any moment of an upgrade leaves no process, and runs one of the two
// versions when it is back: the one that its status says.
func TestAServerDiesWhileAPluginIsUpgraded(t *testing.T) {
	s := process.New(t, process.Pintle(), "plugins: []\n")
	s.Start()
	dirs := map[string]string{"1.0.0": packReader(t, "1.0.0"), "2.0.0": packReader(t, "2.0.0")}
	if out, err := process.Run(t.Context(), nil, process.Pintle(), "plugin", "install", dirs["1.0.0"], "--allow-unsigned", "--grant", "--arg", "reader", "--arg", "1.0.0", "--kubeconfig", s.Kubeconfig()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, delay := range []time.Duration{0, 60 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond} {
		client, err := dynamic.NewForConfig(s.ClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		plugins := client.Resource(schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"})
		u, err := plugins.Get(t.Context(), "reader", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before := stateOf(u)
		wanted := map[string]string{"1.0.0": "2.0.0", "2.0.0": "1.0.0"}[before.version]
		patch := fmt.Sprintf(`{"spec":{"source":{"directory":%q},"args":["reader",%q]}}`, dirs[wanted], wanted)
		if _, err := plugins.Patch(t.Context(), "reader", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay) // the moment is what is tried
		s.End(syscall.SIGKILL)
		process.Eventually(t, time.Second, "the end of its plugin", func() error {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", before.pid))
			if _, after, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(after, "Z") { // nobody may have waited for it
				return fmt.Errorf("process %d is left", before.pid)
			}
			return nil
		})
		s.Start()
		if client, err = dynamic.NewForConfig(s.ClientConfig()); err != nil {
			t.Fatal(err)
		}
		plugins = client.Resource(schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"})
		var now pluginState
		process.Eventually(t, 30*time.Second, "one of both versions", func() error {
			u, err := plugins.Get(t.Context(), "reader", metav1.GetOptions{})
			if err != nil {
				return err
			}
			now = stateOf(u)
			given := now.upgraded == "Refused" || now.upgraded == "RolledBack"
			if now.health != "Healthy" || now.observed != now.generation || now.pid == before.pid || (now.version != wanted && !given) {
				return fmt.Errorf("after %s: %+v, wanted %s", delay, now, wanted)
			}
			return nil
		})
		api, err := kubernetes.NewForConfig(s.ClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		got, err := api.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("after-", i)}}, metav1.CreateOptions{})
		if err != nil || got.Data["version"] != now.version {
			t.Errorf("asked %v (%v), and the status says %+v", got.Data, err, now)
		}
	}
}
