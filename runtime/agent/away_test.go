package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/runtime/driver/sim"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// leaving is a driver that may be away, as that of a plugin.
type leaving struct {
	*sim.Driver
	mu   sync.Mutex
	away bool
	subs []context.CancelFunc
}

func (l *leaving) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
	for _, end := range l.subs {
		end()
	}
	l.subs = nil
}

func (l *leaving) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return fmt.Errorf("runtime driver x is BackOff: it fell: %w", driver.ErrUnavailable)
	}
	return nil
}

func (l *leaving) ListSandboxes(ctx context.Context) ([]driver.Sandbox, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Driver.ListSandboxes(ctx)
}

func (l *leaving) Events(ctx context.Context) (<-chan driver.Event, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	l.subs = append(l.subs, cancel)
	l.mu.Unlock()
	return l.Driver.Events(ctx)
}

func (l *leaving) Version(ctx context.Context) (string, error) {
	if err := l.err(); err != nil {
		return "", err
	}
	return l.Driver.Version(ctx)
}

// A node whose driver is away is not ready and says why, and its pods stay what they were. Where
// the driver makes no network namespaces, pods need no network plugin.
func TestDriverThatComesAndGoes(t *testing.T) {
	d := &leaving{Driver: sim.New(sim.Options{NoNetwork: true}), away: true}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "uid"},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	r := &rig{t: t, client: fake.NewClientset(pod), drv: d.Driver, dir: t.TempDir()}
	cfg := Config{
		NodeName: "n1", NodeIP: "192.0.2.1", Client: &rest.Config{}, Driver: d, Dir: r.dir,
		ListenAddress: "-", NoCgroups: true, Logger: slog.New(slog.DiscardHandler),
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	r.agent = newAgent(cfg, r.client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.agent.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ready := func(want corev1.ConditionStatus, message string) {
		t.Helper()
		r.until("the node's readiness is "+string(want), func() bool {
			n, err := r.client.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
			if err != nil {
				return false
			}
			for _, c := range n.Status.Conditions {
				if c.Type == corev1.NodeReady {
					return c.Status == want && strings.Contains(c.Message, message)
				}
			}
			return false
		})
	}
	const why = "container runtime is down: runtime driver x is BackOff: it fell"
	ready(corev1.ConditionFalse, why)
	if r.watching("pods") {
		t.Error("it looks after pods before it knows what runs")
	}
	d.set(false)
	ready(corev1.ConditionTrue, "")
	st := r.status("ready", isReady)
	if st.PodIP != "192.0.2.1" {
		t.Errorf("the pod's address is %q", st.PodIP)
	}
	before := r.container("c").ID
	if id := st.ContainerStatuses[0].ContainerID; id != "sim://"+before {
		t.Errorf("container id %q", id)
	}
	d.set(true)
	ready(corev1.ConditionFalse, why)
	if p := r.pod(); p == nil || p.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod while the driver is away: %+v", p)
	}
	d.set(false)
	ready(corev1.ConditionTrue, "")
	if after := r.container("c"); after.ID != before || after.State != driver.ContainerRunning {
		t.Errorf("container %s is now %+v", before, after)
	}
	d.End(before, 1) // it is followed again
	st = r.status("restarted", func(st *corev1.PodStatus) bool {
		return len(st.ContainerStatuses) == 1 && st.ContainerStatuses[0].RestartCount == 1 && isReady(st)
	})
	if st.Phase != corev1.PodRunning {
		t.Errorf("phase %s", st.Phase)
	}
}
