package clients

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientfeatures "k8s.io/client-go/features"
	featurestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/test/process"
)

// Informers that live through restarts of the server, killed and told to stop, see every
// acknowledged change exactly once and in order, and read the collection once only.
func TestInformersSurviveRestarts(t *testing.T) {
	for _, watchList := range []bool{true, false} {
		t.Run(fmt.Sprintf("WatchList=%v", watchList), func(t *testing.T) {
			featurestesting.SetFeatureDuringTest(t, clientfeatures.WatchListClient, watchList)
			testInformers(t)
		})
	}
}

func testInformers(t *testing.T) {
	s := process.Start(t, process.Pintle(), "plugins: []\n")
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	const ns = "default"
	for i := range 50 {
		if _, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), numbered(fmt.Sprintf("old-%d", i), 0), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	var reads reads
	seen := &history{states: map[string][]int{}}
	stop := make(chan struct{})
	defer close(stop)
	own := s.ClientConfig()
	own.Wrap(reads.count)
	// A connection of its own: where a write on it meets a dead server before the read does,
	// net/http ends the watch with an error that client-go answers with a new list, whatever
	// the server.
	own.Dial = (&net.Dialer{}).DialContext
	watching, err := kubernetes.NewForConfig(own)
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(watching, 0, informers.WithNamespace(ns))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if _, err := informer.AddEventHandler(seen); err != nil {
		t.Fatal(err)
	}
	factory.Start(stop)
	if !cache.WaitForCacheSync(stop, informer.HasSynced) {
		t.Fatal("no first sync")
	}

	w := &writers{t: t, config: s.ClientConfig(), ns: ns, acknowledged: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 4 {
		w.running.Go(func() { w.write(ctx, fmt.Sprintf("object-%d", i)) })
	}
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		w.until(int64(200 * (i + 1)))
		// A watch that is being opened while its server dies fails with an error that
		// client-go answers with a new list, whatever the server; one that is open goes on.
		w.caughtUp(seen)
		s.End(sig)
		s.Start()
	}
	w.until(800)
	cancel()
	w.running.Wait()

	// The last write of all tells that everything before it has been seen.
	last := numbered("last", 1)
	if _, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), last, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, time.Minute, "the last change is seen", func() error {
		if got := seen.of("last"); len(got) == 0 {
			return fmt.Errorf("%d changes seen", seen.len())
		}
		return nil
	})
	for i := range 4 {
		name := fmt.Sprintf("object-%d", i)
		w.check(name, seen.of(name))
	}
	for i := range 50 {
		if got := seen.of(fmt.Sprintf("old-%d", i)); len(got) != 1 {
			t.Errorf("an object that nobody changed was seen as %v", got)
		}
	}
	if lists, watchLists := reads.lists.Load(), reads.watchLists.Load(); lists+watchLists != 1 {
		t.Errorf("the collection was read %d times by lists and %d times by watches", lists, watchLists)
	}
}

func numbered(name string, n int) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": strconv.Itoa(n)}}
}

// reads counts how often a collection is read whole.
type reads struct{ lists, watchLists atomic.Int64 }

func (r *reads) count(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusOK {
			switch q := req.URL.Query(); {
			case q.Get("watch") == "":
				r.lists.Add(1)
			case q.Get("sendInitialEvents") == "true":
				r.watchLists.Add(1)
			}
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// deleted is the state of an object that is gone.
const deleted = -1

// history is what an informer says, by object.
type history struct {
	mu     sync.Mutex
	states map[string][]int
}

func (h *history) add(o any, gone bool) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	c, _ := o.(*corev1.ConfigMap)
	n, _ := strconv.Atoi(c.Data["n"])
	if gone {
		n = deleted
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states[c.Name] = append(h.states[c.Name], n)
}

func (h *history) OnAdd(o any, _ bool) { h.add(o, false) }
func (h *history) OnUpdate(_, o any)   { h.add(o, false) }
func (h *history) OnDelete(o any)      { h.add(o, true) }

func (h *history) of(name string) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.states[name]
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.states)
}

// writers change one object each, over and over, through all failures.
type writers struct {
	t       *testing.T
	config  *rest.Config
	ns      string
	running sync.WaitGroup
	done    atomic.Int64

	mu           sync.Mutex
	acknowledged map[string]int // the newest number of an object that was acknowledged
}

// write gives an object the numbers 1, 2, 3, … and deletes it after every tenth. A write
// whose outcome is unknown is looked up before it goes on.
func (w *writers) write(ctx context.Context, name string) {
	client, err := kubernetes.NewForConfig(w.config)
	if err != nil {
		w.t.Error(err)
		return
	}
	maps := client.CoreV1().ConfigMaps(w.ns)
	for n := 1; ctx.Err() == nil; n++ {
		try := func(f func() error) {
			for f() != nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if n%10 == 1 {
			try(func() error {
				_, err := maps.Create(context.Background(), numbered(name, n), metav1.CreateOptions{})
				if apierrors.IsAlreadyExists(err) {
					return nil // the try before had been stored
				}
				return err
			})
		} else {
			try(func() error {
				_, err := maps.Update(context.Background(), numbered(name, n), metav1.UpdateOptions{})
				return err
			})
		}
		if n%10 == 0 {
			try(func() error {
				err := maps.Delete(context.Background(), name, metav1.DeleteOptions{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				return err
			})
		}
		w.mu.Lock()
		w.acknowledged[name] = n
		w.mu.Unlock()
		w.done.Add(1)
	}
}

// until waits for a number of acknowledged writes.
func (w *writers) until(n int64) {
	w.t.Helper()
	process.Eventually(w.t, time.Minute, fmt.Sprintf("%d writes are acknowledged", n), func() error {
		if got := w.done.Load(); got < n {
			return fmt.Errorf("so far %d", got)
		}
		return nil
	})
}

// caughtUp waits until informers have seen of each object what was acknowledged when it is
// called.
func (w *writers) caughtUp(h *history) {
	w.t.Helper()
	w.mu.Lock()
	want := maps.Clone(w.acknowledged)
	w.mu.Unlock()
	process.Eventually(w.t, time.Minute, "informers are up to date", func() error {
		for name, n := range want {
			if seen := h.of(name); len(seen) == 0 || slices.Max(seen) < n {
				return fmt.Errorf("%s: not yet %d", name, n)
			}
		}
		return nil
	})
}

// check compares what was seen of an object with what was written to it.
func (w *writers) check(name string, seen []int) {
	w.t.Helper()
	last := w.acknowledged[name]
	i := 0
	next := func(want int) bool {
		if i >= len(seen) || seen[i] != want {
			return false
		}
		i++
		return true
	}
	for n := 1; n <= last; n++ {
		if !next(n) || n%10 == 0 && !next(deleted) {
			w.t.Errorf("%s: change %d of %d was missed or seen twice: …%v", name, n, last, seen[max(i-5, 0):min(i+5, len(seen))])
			return
		}
	}
	if i != len(seen) {
		w.t.Errorf("%s: seen after the last change: %v", name, seen[i:])
	}
}
