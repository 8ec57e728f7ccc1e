package agent

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/pintle-dev/pintle/runtime/stats"
	"github.com/pintle-dev/pintle/runtime/stream"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// backend answers the kubelet API.
type backend struct{ a *Agent }

var _ stream.Backend = backend{}

// allow says whether the owner of a verified certificate may use the kubelet API.
func (a *Agent) allow(cert *x509.Certificate) bool {
	name := cert.Subject.CommonName
	if len(a.cfg.ClientNames) > 0 {
		return slices.Contains(a.cfg.ClientNames, name)
	}
	return name == "kube-apiserver" || name == "kube-apiserver-kubelet-client" || slices.Contains(cert.Subject.Organization, "system:masters")
}

// Pods implements stream.Backend.
func (b backend) Pods() []*corev1.Pod {
	b.a.mu.Lock()
	store := b.a.pods
	b.a.mu.Unlock()
	if store == nil {
		return nil
	}
	var out []*corev1.Pod
	for _, obj := range store.List() {
		if p, ok := obj.(*corev1.Pod); ok {
			out = append(out, p)
		}
	}
	return out
}

func (b backend) pod(namespace, name, uid string) (*corev1.Pod, error) {
	for _, p := range b.Pods() {
		if p.Namespace == namespace && p.Name == name && (uid == "" || string(p.UID) == uid) {
			return p, nil
		}
	}
	return nil, stream.Errorf(http.StatusNotFound, "pod %q not found", namespace+"/"+name)
}

func hasContainer(pod *corev1.Pod, name string) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return true
			}
		}
	}
	return false
}

// Container implements stream.Backend.
func (b backend) Container(_ context.Context, namespace, podName, uid, name string, previous bool) (stream.Container, error) {
	pod, err := b.pod(namespace, podName, uid)
	if err != nil {
		return stream.Container{}, err
	}
	if !hasContainer(pod, name) {
		return stream.Container{}, stream.Errorf(http.StatusBadRequest, "container %q not found in pod %q", name, pod.Namespace+"/"+pod.Name)
	}
	var attempts []driver.Container
	for _, c := range b.a.runtime.containers(pod.UID) {
		if c.Name == name {
			attempts = append(attempts, c)
		}
	}
	slices.SortFunc(attempts, func(x, y driver.Container) int { return y.Attempt - x.Attempt })
	n := 0
	if previous {
		n = 1
	}
	if len(attempts) <= n || attempts[n].LogPath == "" {
		if previous {
			return stream.Container{}, stream.Errorf(http.StatusBadRequest, "previous terminated container %q in pod %q not found", name, pod.Name)
		}
		return stream.Container{}, stream.Errorf(http.StatusBadRequest, "container %q in pod %q is waiting to start: %s", name, pod.Name, waitReason(pod, name))
	}
	c := attempts[n]
	if _, err := os.Stat(c.LogPath); err != nil {
		return stream.Container{}, stream.Errorf(http.StatusBadRequest, "container %q in pod %q has no log: %v", name, pod.Name, err)
	}
	return stream.Container{ID: c.ID, LogPath: c.LogPath, Ended: b.a.endOf(c)}, nil
}

func waitReason(pod *corev1.Pod, name string) string {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if s.Name == name && s.State.Waiting != nil && s.State.Waiting.Reason != "" {
				switch s.State.Waiting.Reason {
				case "ErrImagePull", "ImagePullBackOff":
					return "trying and failing to pull image"
				}
				return s.State.Waiting.Reason
			}
		}
	}
	return "ContainerCreating"
}

// endOf returns a channel that is closed when a container has ended.
func (a *Agent) endOf(c driver.Container) <-chan struct{} {
	done := make(chan struct{})
	if exited(&c) {
		close(done)
		return done
	}
	a.ends.add(c.ID, done)
	return done
}

// ends tells readers of logs when containers end.
type ends struct {
	mu      sync.Mutex
	waiting map[string][]chan struct{}
}

func (e *ends) add(id string, done chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil {
		e.waiting = map[string][]chan struct{}{}
	}
	e.waiting[id] = append(e.waiting[id], done)
}

// live closes the channels of all containers that do not run any more.
func (e *ends) live(alive func(id string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, list := range e.waiting {
		if alive(id) {
			continue
		}
		for _, ch := range list {
			close(ch)
		}
		delete(e.waiting, id)
	}
}

// Running implements stream.Backend.
func (b backend) Running(_ context.Context, namespace, podName, uid, name string) (stream.Container, error) {
	pod, err := b.pod(namespace, podName, uid)
	if err != nil {
		return stream.Container{}, err
	}
	for _, c := range b.a.runtime.containers(pod.UID) {
		if c.Name == name && running(&c) {
			return stream.Container{ID: c.ID, LogPath: c.LogPath}, nil
		}
	}
	if !hasContainer(pod, name) {
		return stream.Container{}, stream.Errorf(http.StatusBadRequest, "container %q not found in pod %q", name, pod.Namespace+"/"+pod.Name)
	}
	return stream.Container{}, stream.Errorf(http.StatusBadRequest, "container %q of pod %q is not running", name, pod.Namespace+"/"+pod.Name)
}

// Sandbox implements stream.Backend.
func (b backend) Sandbox(_ context.Context, namespace, podName, uid string) (string, error) {
	pod, err := b.pod(namespace, podName, uid)
	if err != nil {
		return "", err
	}
	sb := b.a.runtime.sandbox(pod.UID)
	if sb == nil || !sb.Ready {
		return "", stream.Errorf(http.StatusBadRequest, "pod %q is not running", pod.Namespace+"/"+pod.Name)
	}
	return sb.ID, nil
}

// Stats implements stream.Backend.
func (b backend) Stats(ctx context.Context) (*statsapi.Summary, error) {
	var in []stats.Pod
	for _, p := range b.Pods() {
		sp := stats.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)}
		if p.Status.StartTime != nil {
			sp.StartTime = p.Status.StartTime.Time
		}
		for _, c := range b.a.runtime.containers(p.UID) {
			if running(&c) {
				sp.Containers = append(sp.Containers, c)
			}
		}
		in = append(in, sp)
	}
	src, _ := b.a.cfg.Driver.(driver.StatsReader) // a driver need not measure
	return stats.Summary(ctx, b.a.cfg.NodeName, b.a.cfg.Dir, src, in)
}

// imageNames translates image ids to what a status shows, remembering the answers: an
// image's digest does not change.
type imageNames struct {
	agent *Agent
	mu    sync.Mutex
	names map[string]string
}

func (n *imageNames) name(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.names[id]; ok {
		return s
	}
	if n.agent.runC == nil || id == "" {
		return id
	}
	img, err := n.agent.cfg.Driver.ImageStatus(n.agent.runC, id)
	if err != nil {
		return id
	}
	name := id
	if len(img.RepoDigests) > 0 {
		name = img.RepoDigests[0]
	}
	if n.names == nil {
		n.names = map[string]string{}
	}
	n.names[id] = name
	return name
}

func (a *Agent) registerMetrics() {
	a.metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kubelet_running_pods", Help: "Pods that this node works for."}, func() float64 {
			a.mu.Lock()
			defer a.mu.Unlock()
			return float64(len(a.workers))
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kubelet_running_containers", Help: "Containers that run on this node."}, func() float64 {
			n := 0
			for uid := range a.runtime.all() {
				for _, c := range a.runtime.containers(uid) {
					if running(&c) {
						n++
					}
				}
			}
			return float64(n)
		}),
	)
}
