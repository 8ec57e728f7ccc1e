package upgrade

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

// TestMain lets the test binary play the plugin, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "tasks" {
		playPlugin(os.Args[2])
		return
	}
	os.Exit(process.Main(m, "../.."))
}

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

// pack makes a directory of a version of the plugin.
func pack(t *testing.T, root, version string) string {
	t.Helper()
	dir := filepath.Join(root, "plugin-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(filepath.Join(dir, "plugin"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf(`apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: tasks
version: %s
protocol: 1
points: [resource, controller, admission]
types: [tasks.upgrade.example]
permissions:
- {apiGroups: [upgrade.example], resources: [tasks], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, create]}
`, version)
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
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
	s := process.New(t, process.Pintle(), "")
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
	old, next := pack(t, s.Dir, "1.0.0"), pack(t, s.Dir, "2.0.0")
	install := func(dir, version string) {
		pintle(t, s, "install", dir, "--allow-unsigned", "--grant", "--arg", "tasks", "--arg", version, "--watch-period", "1ms", "--timeout", "2m")
	}
	install(old, "1.0.0")
	w := write(t, objects, rate)
	began := time.Now()
	for i := range rounds {
		install(next, "2.0.0")
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
	if !strings.Contains(info, "Restarts:  ") || !strings.Contains(strings.ReplaceAll(info, " ", ""), "Restarts:0") {
		t.Errorf("the plugin was restarted:\n%s", info)
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
