package backup_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/test/process"
)

// populate writes objects of several kinds.
func populate(t *testing.T, s *process.Server) {
	c := client(t, s)
	for i := range 30 {
		ns := fmt.Sprintf("team-%d", i%3)
		if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("s-", i)}, Data: map[string][]byte{"key": noise(20 << 10)}}
		if _, err := c.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.CoreV1().ConfigMaps(ns).Create(t.Context(), numbered(fmt.Sprint("c-", i), i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dyn, err := dynamic.NewForConfig(config(t, s))
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "widgets.example.dev"},
		"spec": map[string]any{"group": "example.dev", "scope": "Namespaced",
			"names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}}
	if _, err := dyn.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "widgets are served", func() error {
		w := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"}, "spec": map[string]any{"size": int64(3)}}}
		_, err := dyn.Resource(schema.GroupVersionResource{Group: "example.dev", Version: "v1", Resource: "widgets"}).Namespace("team-0").Create(t.Context(), w, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	// Nothing is left to be written by the server itself.
	eventually(t, "the group of widgets is shown as served", func() error {
		a, err := dyn.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}).Get(t.Context(), "v1.example.dev", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if conditions, _, _ := unstructured.NestedSlice(a.Object, "status", "conditions"); len(conditions) == 0 {
			return errors.New("it has no condition")
		}
		return nil
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func numbered(name string, n int) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": strconv.Itoa(n)}}
}

// restore makes the data directory of a new server, which takes the place of an old one.
func restore(t *testing.T, old *process.Server, more, place string, args ...string) (*process.Server, string) {
	t.Helper()
	s := process.New(t, process.Pintle(), more)
	if old != nil {
		s.Address = old.Address
	}
	return s, mustCLI(t, append([]string{"restore", place, "--data-dir", s.Data()}, args...)...)
}

// The cluster of a restored backup has what the old one had, and clients of the old one go on
// with it: their credentials hold, and their caches follow.
func TestRestoredClusterTakesThePlaceOfTheOld(t *testing.T) {
	old := process.Start(t, process.Pintle(), bare)
	populate(t, old)
	c := client(t, old)
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	recipient := strings.TrimSpace(mustCLI(t, "keygen", "-o", key))

	var reads atomic.Int64
	conf := config(t, old)
	conf.Dial = (&net.Dialer{}).DialContext
	conf.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if q := r.URL.Query(); r.URL.Path == "/api/v1/configmaps" && (q.Get("watch") == "" || q.Get("sendInitialEvents") == "true") {
				reads.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	watching, err := kubernetes.NewForConfig(conf)
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(watching, 0)
	informer := factory.Core().V1().ConfigMaps().Informer()
	stop := make(chan struct{})
	defer close(stop)
	factory.Start(stop)
	if !cache.WaitForCacheSync(stop, informer.HasSynced) {
		t.Fatal("no first sync")
	}

	// The second object of a pair is written after the first: at any moment it is as old or one
	// write older.
	for _, name := range []string{"first", "second"} {
		for w := range 4 {
			if _, err := c.CoreV1().ConfigMaps("team-0").Create(t.Context(), numbered(fmt.Sprint(name, "-", w), 0), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	pairs := write(t, 4, func(w, i int) error {
		for _, name := range []string{"first", "second"} {
			if _, err := c.CoreV1().ConfigMaps("team-0").Update(context.Background(), numbered(fmt.Sprint(name, "-", w), i), metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	during := create(t, old, "-o", dir, "--recipient", recipient)
	plain := create(t, old, "-o", filepath.Join(dir, "plain.backup"))
	pairs.stop()
	want := everything(t, old)
	still := create(t, old, "-o", dir, "--recipient", recipient)
	for _, place := range []string{during, still} {
		out := mustCLI(t, "verify", place, "--identity", key)
		if !strings.Contains(out, "Everything matches") || !strings.Contains(out, "pki/ca.key") || !strings.Contains(out, "widgets.example.dev") {
			t.Errorf("verify says\n%s", out)
		}
	}
	if out := mustCLI(t, "verify", plain); !strings.Contains(out, "keys") || strings.Contains(out, "ca.key") {
		t.Errorf("verify of a plain backup says\n%s", out)
	}
	if out := mustCLI(t, "verify", still); !strings.Contains(out, "The content was not looked at") {
		t.Errorf("verify without the key says\n%s", out)
	}

	// The old cluster goes on, and then is lost.
	if _, err := c.CoreV1().ConfigMaps("team-1").Create(t.Context(), numbered("lost", 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := c.CoreV1().ConfigMaps("team-1").Update(t.Context(), numbered("lost", i), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CoreV1().ConfigMaps("team-0").Delete(t.Context(), "c-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the informer has seen the end", func() error {
		lost, ok, err := informer.GetStore().GetByKey("team-1/lost")
		if _, gone, _ := informer.GetStore().GetByKey("team-0/c-0"); err != nil || !ok || gone || lost.(*corev1.ConfigMap).Data["n"] != "19" {
			return errors.New("not yet")
		}
		return nil
	})
	last, err := c.CoreV1().ConfigMaps("team-1").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lists := reads.Load()
	old.End(syscall.SIGKILL)

	s, out := restore(t, old, bare, still, "--identity", key)
	if !strings.Contains(out, "stay valid") {
		t.Errorf("restore says\n%s", out)
	}
	s.Start()
	same(t, everything(t, s), want)
	now, err := c.CoreV1().ConfigMaps("team-1").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("the old credentials: %v", err)
	}
	if before, after := number(t, last.ResourceVersion), number(t, now.ResourceVersion); after < before || after < backup.RaiseAtLeast {
		t.Errorf("the revision was %d and is %d", before, after)
	}
	w, err := c.CoreV1().ConfigMaps("team-1").Watch(t.Context(), metav1.ListOptions{ResourceVersion: last.ResourceVersion})
	if err == nil {
		ev := <-w.ResultChan()
		w.Stop()
		err = apierrors.FromObject(ev.Object)
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from before: %v", err)
	}
	eventually(t, "the informer has what the new cluster has", func() error {
		all, err := c.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if n := len(informer.GetStore().List()); n != len(all.Items) {
			return fmt.Errorf("it has %d objects, the cluster %d", n, len(all.Items))
		}
		for i := range all.Items {
			o, ok, err := informer.GetStore().GetByKey(all.Items[i].Namespace + "/" + all.Items[i].Name)
			if err != nil || !ok || o.(*corev1.ConfigMap).ResourceVersion != all.Items[i].ResourceVersion {
				return fmt.Errorf("%s is %v", all.Items[i].Name, o)
			}
		}
		return nil
	})
	if reads.Load() == lists {
		t.Error("the informer has not listed anew")
	}
	if _, err := c.CoreV1().ConfigMaps("team-0").Create(t.Context(), numbered("new", 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the informer sees new writes", func() error {
		if _, ok, err := informer.GetStore().GetByKey("team-0/new"); err != nil || !ok {
			return errors.New("not yet")
		}
		return nil
	})
	s.End(syscall.SIGKILL)
	s.Start() // once more, from its own log

	// What was written meanwhile is there as it was at one moment.
	first, _ := restore(t, nil, bare, during, "--identity", key)
	first.Start()
	maps, err := client(t, first).CoreV1().ConfigMaps("team-0").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, m := range maps.Items {
		n[m.Name], _ = strconv.Atoi(m.Data["n"])
	}
	for w := range 4 {
		if a, b := n[fmt.Sprint("first-", w)], n[fmt.Sprint("second-", w)]; a != b && a != b+1 {
			t.Errorf("pair %d is %d and %d", w, a, b)
		}
	}

	// Without its keys it is another cluster to clients.
	stranger, out := restore(t, nil, bare, plain)
	if !strings.Contains(out, "not restored") {
		t.Errorf("restore says\n%s", out)
	}
	stranger.Start()
	foreign := config(t, s)
	foreign.Host = config(t, stranger).Host
	unknown, err := kubernetes.NewForConfig(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unknown.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("credentials of a cluster whose keys were not restored are good")
	}
	if _, err := client(t, stranger).CoreV1().Secrets("team-1").Get(t.Context(), "s-1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Nothing but a whole backup is restored, and only into nothing; a server does not start on what
// an interrupted restore has left, and the next restore begins anew.
func TestRestoreRefuses(t *testing.T) {
	s := process.Start(t, process.Pintle(), bare)
	populate(t, s)
	dir := t.TempDir()
	file := create(t, s, "-o", dir)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.End(syscall.SIGTERM)
	damaged := filepath.Join(dir, "damaged.backup")
	for _, at := range []int{3, 100, len(whole) / 2, len(whole) - 2} {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 4
		for name, content := range map[string][]byte{"flipped": bad, "cut": whole[:at]} {
			if err := os.WriteFile(damaged, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cli(t, "verify", damaged); err == nil {
				t.Errorf("%s at %d: verified", name, at)
			}
			into := filepath.Join(dir, "into")
			if _, err := cli(t, "restore", damaged, "--data-dir", into); err == nil {
				t.Errorf("%s at %d: restored", name, at)
			}
			if left := backups(t, into); len(left) > 0 {
				t.Errorf("%s at %d: %v is left", name, at, left)
			}
		}
	}
	if _, err := cli(t, "restore", file, "--data-dir", s.Data()); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("restored over a cluster: %v", err)
	}
	if _, err := cli(t, "restore", file); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("restored without a word of where: %v", err)
	}

	next := process.New(t, process.Pintle(), bare)
	marker := filepath.Join(next.Data(), "RESTORING")
	there := func() bool { _, err := os.Stat(marker); return err == nil }
	for try := 0; !there(); try++ {
		if try == 20 {
			t.Fatal("no restore was met on its way")
		}
		if err := os.RemoveAll(next.Data()); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(process.Pintle(), "backup", "restore", file, "--data-dir", next.Data())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		for running := true; running && !there(); {
			select {
			case <-ended:
				running = false
			default:
			}
		}
		_ = cmd.Process.Kill()
		<-ended
	}
	next.Launch()
	<-next.Ended()
	if log := next.Log(); !strings.Contains(log, "restore it again") {
		t.Errorf("a server on half a restore says\n%s", log)
	}
	mustCLI(t, "restore", file, "--data-dir", next.Data())
	next.Start()
	if _, err := client(t, next).CoreV1().Secrets("team-1").Get(t.Context(), "s-1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// Whatever ends in the middle of a backup, the program or the server: there is no backup then.
func TestInterruptedBackupIsNone(t *testing.T) {
	s := process.Start(t, process.Pintle(), bare)
	c := client(t, s)
	for i := range 60 {
		m := numbered(fmt.Sprint("big-", i), i)
		m.Data["noise"] = base64.StdEncoding.EncodeToString(noise(300 << 10))
		if _, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	begun := time.Now()
	create(t, s, "-o", filepath.Join(dir, "whole"))
	takes := time.Since(begun)
	met := 0
	for i := range 12 {
		cmd := exec.Command(process.Pintle(), "backup", "create", "--data-dir", s.Data(), "-o", filepath.Join(dir, fmt.Sprint(i)))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i == 11 {
			// The last time it is the server that ends.
			eventually(t, "the backup is on its way", func() error {
				if part, _ := filepath.Glob(filepath.Join(dir, fmt.Sprint(i), ".*.part")); len(part) == 0 && cmd.ProcessState == nil {
					return errors.New("not yet")
				}
				return nil
			})
			s.End(syscall.SIGKILL)
		} else {
			time.Sleep(takes * time.Duration(i+1) / 12)
			_ = cmd.Process.Kill()
		}
		err := cmd.Wait()
		parts, _ := filepath.Glob(filepath.Join(dir, fmt.Sprint(i), ".*.part"))
		found := backups(t, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil && len(parts) > 0 {
			met++
		}
		for _, f := range found {
			if _, err := cli(t, "verify", f); err != nil {
				t.Errorf("there is a backup that is none: %v", err)
			}
		}
		if i == 11 && err == nil {
			t.Log("the server ended too late")
		} else if i == 11 && (len(found) > 0 || len(parts) > 0) {
			t.Errorf("a server that was killed has left %v %v", found, parts)
		}
	}
	if met == 0 {
		t.Error("no backup was met on its way")
	}
}
