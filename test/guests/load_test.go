package guests

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	loadNamespace = "load"
	loadWorkers   = 4
	// loadPause is between two requests of a worker, so that the load is the same whatever
	// the latency.
	loadPause = 4 * time.Millisecond
)

// load is the steady work of others.
type load struct {
	client kubernetes.Interface

	mu   sync.Mutex
	n    int
	acks map[string]string // what was acknowledged: the last value of each object
}

// figures of a load.
type figures struct {
	took   samples
	errors []error
}

// run works for a while.
func (l *load) run(ctx context.Context, d time.Duration) figures {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var mu sync.Mutex
	var f figures
	var all sync.WaitGroup
	for range loadWorkers {
		all.Go(func() {
			var mine []time.Duration
			var errs []error
			timed := func(do func(context.Context) error) {
				// Requests outlive the measurement: one that is cut off would say nothing.
				began := time.Now()
				if err := do(context.WithoutCancel(ctx)); err != nil {
					errs = append(errs, err)
				}
				mine = append(mine, time.Since(began))
				select {
				case <-time.After(loadPause):
				case <-ctx.Done():
				}
			}
			for ctx.Err() == nil {
				l.mu.Lock()
				l.n++
				name := fmt.Sprintf("c%06d", l.n)
				l.mu.Unlock()
				maps := l.client.CoreV1().ConfigMaps(loadNamespace)
				timed(func(ctx context.Context) error {
					_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"v": "1"}}, metav1.CreateOptions{})
					return l.ack(err, name, "1")
				})
				timed(func(ctx context.Context) error {
					_, err := maps.Get(ctx, name, metav1.GetOptions{})
					return err
				})
				timed(func(ctx context.Context) error {
					_, err := maps.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"v":"2"}}`), metav1.PatchOptions{})
					return l.ack(err, name, "2")
				})
			}
			mu.Lock()
			defer mu.Unlock()
			f.took, f.errors = append(f.took, mine...), append(f.errors, errs...)
		})
	}
	all.Wait()
	return f
}

func (l *load) ack(err error, name, value string) error {
	if err == nil {
		l.mu.Lock()
		l.acks[name] = value
		l.mu.Unlock()
	}
	return err
}

// checkNothingLost compares what is stored with what was acknowledged.
func (l *load) checkNothingLost(t *testing.T) {
	t.Helper()
	list, err := l.client.CoreV1().ConfigMaps(loadNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for i := range list.Items {
		have[list.Items[i].Name] = list.Items[i].Data["v"]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for name, value := range l.acks {
		if have[name] != value {
			lost++
			t.Logf("%s: %q was acknowledged, %q is there", name, value, have[name])
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acks))
	}
}
