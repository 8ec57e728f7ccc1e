package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/runtime/driver/sim"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// fakeNet gives out addresses and remembers who has one.
type fakeNet struct {
	mu       sync.Mutex
	n        int
	attached map[string]bool
	fail     int // attaches that fail before one works
	setups   []network.Node
	tornDown int // how many were attached then
}

func (f *fakeNet) Setup(_ context.Context, _ plugin.Env, n network.Node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setups = append(f.setups, n)
	return nil
}

func (f *fakeNet) Attach(_ context.Context, p network.Pod) (network.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail > 0 {
		f.fail--
		return network.Result{}, errors.New("no address left")
	}
	f.n++
	f.attached[p.SandboxID] = true
	return network.Result{IPs: []string{fmt.Sprintf("10.0.0.%d", f.n)}}, nil
}

func (f *fakeNet) Detach(_ context.Context, p network.Pod) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.attached, p.SandboxID)
	return nil
}

func (f *fakeNet) Check(context.Context, network.Pod) error { return nil }

func (f *fakeNet) Teardown(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tornDown = len(f.attached)
	return nil
}

func (f *fakeNet) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.attached)
}

// rig is an agent over a fake API server and hollow containers.
type rig struct {
	t      *testing.T
	client *fake.Clientset
	drv    *sim.Driver
	net    *fakeNet
	dir    string
	agent  *Agent
	stop   func()
}

func newRig(t *testing.T, o sim.Options, objects ...runtime.Object) *rig {
	t.Helper()
	r := &rig{t: t, client: fake.NewClientset(objects...), drv: sim.New(o), net: &fakeNet{attached: map[string]bool{}, tornDown: -1}, dir: t.TempDir()}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start() {
	cfg := Config{
		NodeName: "n1", NodeIP: "192.0.2.1", Client: &rest.Config{}, Driver: r.drv, Network: r.net, Dir: r.dir,
		ListenAddress: "-", NoCgroups: true, PodCIDRs: []string{"10.0.0.0/24"}, Logger: slog.New(slog.DiscardHandler),
		ClusterDNS: []string{"10.96.0.10"},
	}
	if err := cfg.complete(); err != nil {
		r.t.Fatal(err)
	}
	r.agent = newAgent(cfg, r.client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.agent.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	// The fake API server's watches begin where they begin: wait for the agent's.
	r.until("the agent watches pods", func() bool {
		r.agent.mu.Lock()
		defer r.agent.mu.Unlock()
		return r.agent.pods != nil && r.watching("pods")
	})
}

func (r *rig) watching(resource string) bool {
	return slices.ContainsFunc(r.client.Actions(), func(a clienttesting.Action) bool {
		return a.GetVerb() == "watch" && a.GetResource().Resource == resource
	})
}

// until polls for what the fake API server has no event for.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) create(p *corev1.Pod) {
	r.t.Helper()
	p.Namespace, p.Spec.NodeName = "ns", "n1"
	if p.Name == "" {
		p.Name = "p"
	}
	if p.UID == "" {
		p.UID = "uid"
	}
	if _, err := r.client.CoreV1().Pods("ns").Create(context.Background(), p, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) pod() *corev1.Pod {
	p, err := r.client.CoreV1().Pods("ns").Get(context.Background(), "p", metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return p
}

// status waits for a status of the pod.
func (r *rig) status(what string, ok func(*corev1.PodStatus) bool) corev1.PodStatus {
	r.t.Helper()
	var st corev1.PodStatus
	deadline := time.Now().Add(10 * time.Second)
	for {
		if p := r.pod(); p != nil {
			if st = p.Status; ok(&st) {
				return st
			}
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the pod did not become %s, it is %+v", what, st)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func isReady(st *corev1.PodStatus) bool { return hasCondition(st, corev1.PodReady) }

func (r *rig) container(name string) driver.Container {
	r.t.Helper()
	list, _ := r.drv.ListContainers(context.Background())
	for _, c := range slices.Backward(list) {
		if c.Name == name {
			return c
		}
	}
	r.t.Fatalf("no container %s", name)
	return driver.Container{}
}

// remove deletes the pod as the API server does: with a grace period first.
func (r *rig) remove(grace int64) {
	r.t.Helper()
	p := r.pod()
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now().Add(time.Duration(grace) * time.Second)}, &grace
	if _, err := r.client.CoreV1().Pods("ns").Update(context.Background(), p, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) events() []string {
	var out []string
	list, _ := r.client.CoreV1().Events("ns").List(context.Background(), metav1.ListOptions{})
	for _, e := range list.Items {
		out = append(out, e.Reason)
	}
	return out
}
