package upgrade

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

const namespace = "upgrade"

var tasks = schema.GroupVersionResource{Group: "upgrade.example", Version: "v1", Resource: "tasks"}

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number", name, v)
	}
	return n
}

// pintle runs a command of the program.
func pintle(t *testing.T, s *process.Server, args ...string) string {
	t.Helper()
	out, err := process.Run(t.Context(), nil, process.Pintle(), append([]string{"plugin"}, append(args, "--kubeconfig", s.Kubeconfig())...)...)
	if err != nil {
		t.Fatalf("pintle plugin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// writers create tasks, about rate of them in a second, until stop is called.
type writers struct {
	written, failed atomic.Int64
	stop            func()
}

func write(t *testing.T, client dynamic.Interface, rate int) *writers {
	t.Helper()
	const clients = 16
	w := &writers{}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			tick := time.NewTicker(time.Second * clients / time.Duration(rate))
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				task := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "upgrade.example/v1", "kind": "Task", "metadata": map[string]any{"name": fmt.Sprintf("task-%d-%d", c, i)},
				}}
				if _, err := client.Resource(tasks).Namespace(namespace).Create(t.Context(), task, metav1.CreateOptions{}); err != nil {
					if w.failed.Add(1) <= 10 {
						t.Errorf("a write failed: %v", err)
					}
					continue
				}
				w.written.Add(1)
			}
		})
	}
	w.stop = func() {
		cancel()
		all.Wait()
	}
	return w
}

func TestUpgradeUnderLoad(t *testing.T) {
	rate, rounds := setting(t, "UPGRADE_WRITES", 1000), setting(t, "UPGRADE_ROUNDS", 10)
	published := publish(t, "1.0.0", "2.0.0")
	s := process.New(t, process.Pintle(), published.trust)
	s.Start()
	config := s.ClientConfig()
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install := func(version string) {
		pintle(t, s, "install", published.repository+":"+version, "--grant", "--watch-period", "1ms", "--timeout", "2m")
	}
	install("1.0.0")
	w := write(t, objects, rate)
	began := time.Now()
	for i := range rounds {
		install("2.0.0")
		if out := pintle(t, s, "rollback", "tasks", "--timeout", "2m"); !strings.Contains(out, "1.0.0") {
			t.Errorf("round %d: %s", i, out)
		}
	}
	took := time.Since(began)
	w.stop()
	written := int(w.written.Load())
	t.Logf("%d writes in %s (%d/s), %d failed, while the plugin was upgraded and rolled back %d times",
		written, took.Round(time.Millisecond), int(float64(written)/took.Seconds()), w.failed.Load(), rounds)
	info := pintle(t, s, "info", "tasks")
	for what, want := range map[string]string{"the plugin was restarted": "Restarts:0", "who signed it is not said": "Signedby:test"} {
		if !strings.Contains(strings.ReplaceAll(info, " ", ""), want) {
			t.Errorf("%s:\n%s", what, info)
		}
	}
	var entries *corev1.ConfigMapList
	process.Eventually(t, 2*time.Minute, "each task has its entry in the ledger", func() error {
		if entries, err = client.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
			return err
		}
		n := 0
		for _, e := range entries.Items {
			if strings.HasPrefix(e.Name, "task-") {
				n++
			}
		}
		if n < written {
			return fmt.Errorf("%d of %d", n, written)
		}
		return nil
	})
	by := map[string]int{}
	for _, e := range entries.Items {
		if e.Labels["doubled"] != "" {
			t.Errorf("a task was reconciled twice, the second time by version %s", e.Data["by"])
		}
		by[e.Data["by"]]++
	}
	if by["1.0.0"] == 0 || by["2.0.0"] == 0 {
		t.Errorf("entries by version: %v", by)
	}
}
