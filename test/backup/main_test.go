package backup_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

// built holds what tests build.
var built string

func TestMain(m *testing.M) {
	code := 1
	if dir, err := os.MkdirTemp("", "pintle-s3"); err != nil {
		fmt.Fprintln(os.Stderr, "backup:", err)
	} else {
		built = dir
		code = process.Main(m, "../..")
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// bare is a control plane of which nothing writes by itself.
const bare = "plugins: []\n"

// cli runs pintle backup.
func cli(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return process.Run(t.Context(), nil, process.Pintle(), append([]string{"backup"}, args...)...)
}

func mustCLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := cli(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// create makes a backup of a server and returns its place.
func create(t testing.TB, s *process.Server, args ...string) string {
	t.Helper()
	place, _, _ := strings.Cut(mustCLI(t, append([]string{"create", "--data-dir", s.Data()}, args...)...), "\n")
	return place
}

func config(t testing.TB, s *process.Server) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	return c
}

func client(t testing.TB, s *process.Server) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everything is all objects that the API lists, by resource, namespace and name.
func everything(t testing.TB, s *process.Server) map[string]string {
	t.Helper()
	c := config(t, s)
	d, err := discovery.NewDiscoveryClientForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := d.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") {
				continue
			}
			items, err := dyn.Resource(gv.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			for i := range items.Items {
				o := &items.Items[i]
				b, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				out[fmt.Sprintf("%s %s/%s", gv.WithResource(r.Name).GroupResource(), o.GetNamespace(), o.GetName())] = string(b)
			}
		}
	}
	return out
}

// same compares what two clusters have.
func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s is\n%s\nand was\n%s", key, got[key], want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is new: %s", key, got[key])
		}
	}
}

// writers write until they are stopped.
type writers struct {
	stopped atomic.Bool
	running sync.WaitGroup
}

func write(t testing.TB, n int, do func(writer, i int) error) *writers {
	w := new(writers)
	for writer := range n {
		w.running.Go(func() {
			for i := 1; !w.stopped.Load(); i++ {
				if err := do(writer, i); err != nil {
					t.Errorf("writer %d: %v", writer, err)
					return
				}
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

// stop returns when all that was begun is answered.
func (w *writers) stop() {
	w.stopped.Store(true)
	w.running.Wait()
}

// backups in a directory, without what is hidden.
func backups(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "[^.]*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// eventually is process.Eventually with room for a busy machine.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	process.Eventually(t, time.Minute, what, check)
}
