package transactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	core "github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/test/process"
)

const objects = 6

// round is a transaction that gives all objects a number. In odd rounds the last is absent.
func round(n int, had bool) core.Transaction {
	var t core.Transaction
	for i := range objects {
		op := core.Operation{Verb: core.Patch, PatchType: types.ApplyYAMLPatchType, APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: fmt.Sprint("o", i)}
		if i == objects-1 && n%2 == 1 {
			if !had {
				continue
			}
			op = core.Operation{Verb: core.Delete, APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: op.Name}
		} else {
			op.Object = json.RawMessage(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{"round":"t"}},"data":{"n":"%d"}}`, op.Name, n))
		}
		t.Operations = append(t.Operations, op)
	}
	return t
}

// whole says what is wrong with a list, and which round it shows.
func whole(items []corev1.ConfigMap) (int, error) {
	if len(items) == 0 {
		return -1, nil
	}
	n, err := strconv.Atoi(items[0].Data["n"])
	if err != nil {
		return 0, err
	}
	want := objects - n%2
	if len(items) != want {
		return n, fmt.Errorf("round %d with %d objects", n, len(items))
	}
	for _, o := range items {
		if o.Data["n"] != items[0].Data["n"] {
			return n, fmt.Errorf("%s is of round %s, %s of round %d", o.Name, o.Data["n"], items[0].Name, n)
		}
	}
	return n, nil
}

// TestNobodySeesAPartWhenTheServerDies kills the server again and again while transactions are
// done, read and watched.
func TestNobodySeesAPartWhenTheServerDies(t *testing.T) {
	server := process.Start(t, process.Pintle(), "plugins: []\n")
	set, err := kubernetes.NewForConfig(config(t, server))
	if err != nil {
		t.Fatal(err)
	}
	cms := set.CoreV1().ConfigMaps("default")
	selector := metav1.ListOptions{LabelSelector: "round"}
	list := func() (*corev1.ConfigMapList, error) { return cms.List(t.Context(), selector) }
	first, err := list()
	if err != nil {
		t.Fatal(err)
	}
	var acked atomic.Int64
	acked.Store(-1)
	done := make(chan struct{})
	var readers sync.WaitGroup
	var lists atomic.Int64
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			floor := int(acked.Load())
			l, err := list()
			if err != nil {
				continue // The server is dead.
			}
			n, err := whole(l.Items)
			if err != nil || n < floor {
				t.Errorf("a list at %s: %v; round %d after %d was acknowledged", l.ResourceVersion, err, n, floor)
				return
			}
			lists.Add(1)
		}
	})
	const kills, each = 3, 25
	send := func(n int) error {
		body, err := json.Marshal(round(n, n > 0))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return set.Discovery().RESTClient().Post().AbsPath("/apis/core.pintle.dev/v1/transactions").SetHeader("Content-Type", "application/json").
			Param("fieldManager", "test").Body(body).Do(ctx).Error()
	}
	n, unknown := 0, false
	for range kills {
		killed := make(chan struct{})
		for i := range each {
			if i == each/2 {
				go func() { server.End(syscall.SIGKILL); close(killed) }()
			}
			err := send(n)
			if err == nil {
				acked.Store(int64(n))
				n++
				continue
			}
			select {
			case <-killed:
			case <-time.After(10 * time.Second):
				t.Fatal(err)
			}
			unknown = true
			break
		}
		<-killed
		server.Start()
		if !unknown {
			continue
		}
		unknown = false
		l, err := list()
		if err != nil {
			t.Fatal(err)
		}
		got, err := whole(l.Items)
		if err != nil || got != n && got != n-1 {
			t.Fatalf("after round %d of unknown outcome: round %d, %v", n, got, err)
		}
		acked.Store(int64(got))
		n = got + 1
	}
	close(done)
	readers.Wait()
	if lists.Load() < 5 || n < kills*each/3 {
		t.Fatalf("%d lists, %d rounds", lists.Load(), n)
	}
	replay(t, set, first.ResourceVersion, n)
}

// replay watches from before the first transaction: every change is there once, in order, and
// whole again at the end of each round.
func replay(t *testing.T, set kubernetes.Interface, after string, rounds int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := set.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: after, LabelSelector: "round"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	state := map[string]corev1.ConfigMap{}
	last := uint64(0)
	for n := range rounds {
		for range round(n, n > 0).Operations {
			ev, ok := <-w.ResultChan()
			if !ok {
				t.Fatal(errors.New("the watch has ended"))
			}
			o, ok := ev.Object.(*corev1.ConfigMap)
			if !ok {
				t.Fatalf("event %s %v", ev.Type, ev.Object)
			}
			revision, err := strconv.ParseUint(o.ResourceVersion, 10, 64)
			if err != nil || revision <= last {
				t.Fatalf("event at revision %s after %d: %v", o.ResourceVersion, last, err)
			}
			last = revision
			if ev.Type == watch.Deleted {
				delete(state, o.Name)
			} else {
				state[o.Name] = *o
			}
		}
		items := make([]corev1.ConfigMap, 0, len(state))
		for _, o := range state {
			items = append(items, o)
		}
		if got, err := whole(items); err != nil || got != n {
			t.Fatalf("after the events of round %d: round %d, %v", n, got, err)
		}
	}
}
