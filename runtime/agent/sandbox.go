package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	"github.com/pintle-dev/pintle/sdk/network"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// attachment is what is remembered of a sandbox's connection.
type attachment struct {
	Pod network.Pod `json:"pod"`
	IPs []string    `json:"ips"`
	// Done is unset while Attach is under way: what is half made must be undone.
	Done bool `json:"done"`
}

func (a *Agent) attachmentFile(sandboxID string) string {
	return filepath.Join(a.cfg.Dir, "network", sandboxID+".json")
}

// savedNetwork tells the addresses of a sandbox that is connected.
func (a *Agent) savedNetwork(sb *driver.Sandbox) ([]string, bool) {
	if sb.NetNS == "" {
		return a.unattached(sb), true
	}
	at, err := a.loadAttachment(sb.ID)
	if err != nil || !at.Done {
		return nil, false
	}
	return at.IPs, true
}

// unattached tells the addresses of a sandbox without a network namespace for the network plugin
// to connect: those that the driver gave it, or, as on the host network, the node's.
func (a *Agent) unattached(sb *driver.Sandbox) []string {
	if len(sb.IPs) > 0 {
		return sb.IPs
	}
	return []string{a.cfg.NodeIP}
}

func (a *Agent) loadAttachment(sandboxID string) (attachment, error) {
	var at attachment
	b, err := os.ReadFile(a.attachmentFile(sandboxID))
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	return at, err
}

func (a *Agent) saveAttachment(at attachment) error {
	return recordNetwork(a.attachmentFile(at.Pod.SandboxID), at)
}

// recordNetwork writes what is to be known of the network after a restart, wholly or not at all.
func recordNetwork(file string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(file+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".tmp", file)
	}
	if err != nil {
		return fmt.Errorf("record network: %w", err)
	}
	return nil
}

func newSandboxID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// createSandbox makes a connected sandbox, and the volumes at the same time.
func (w *worker) createSandbox(ctx context.Context, pod *corev1.Pod, act Action) (func(), error) {
	var volumes sync.WaitGroup
	volumes.Go(func() {
		// Whether this works, the start of the containers will say.
		_, _ = w.setupVolumes(ctx, pod, nil)
	})
	defer volumes.Wait()
	if old := w.a.runtime.sandbox(pod.UID); old != nil {
		// Broken, or its connection was cut off half way.
		if err := w.detach(ctx, *old); err != nil {
			return nil, w.sandboxFailed(pod, err)
		}
		if act.Kind == ActReplaceSandbox {
			w.a.recorder.Event(pod, corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		}
		if err := w.a.cfg.Driver.RemoveSandbox(ctx, old.ID); err != nil {
			return nil, w.sandboxFailed(pod, err)
		}
	}
	cfg, err := w.a.sandboxConfig(pod)
	if err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	cfg.Attempt = act.Attempt
	if err := w.a.ensurePodCgroup(pod, cfg.CgroupParent); err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	if err := os.MkdirAll(cfg.LogDir, 0o755); err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	sb, err := w.a.cfg.Driver.RunSandbox(ctx, cfg)
	if err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	if err := w.a.writeHosts(pod, cfg.Hostname, nil); err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	if err := w.a.runtime.refresh(ctx); err != nil {
		return nil, w.sandboxFailed(pod, err)
	}
	return func() { w.connect(pod, sb, cfg.Hostname) }, nil
}

// connection is a sandbox's connection in the making.
type connection struct {
	done chan struct{} // closed when the rest is set
	ips  []string
	err  error
}

// wait returns the pod's addresses when the sandbox is connected.
func (c *connection) wait(ctx context.Context) ([]string, error) {
	select {
	case <-c.done:
		return c.ips, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect attaches a new sandbox to the network while containers are being made in it.
func (w *worker) connect(pod *corev1.Pod, sb driver.Sandbox, host string) {
	c := &connection{done: make(chan struct{})}
	w.joined = c
	w.launch(opAttach, ActCreateSandbox, func(ctx context.Context) (func(), error) {
		defer close(c.done)
		c.ips, c.err = w.attach(ctx, pod, sb)
		if c.err == nil {
			c.err = w.a.writeHosts(pod, host, c.ips)
		}
		if c.err != nil {
			undo := context.WithoutCancel(ctx)
			c.err = errors.Join(c.err, w.detach(undo, sb), w.a.cfg.Driver.RemoveSandbox(undo, sb.ID))
			return nil, w.sandboxFailed(pod, c.err)
		}
		return func() { w.obs.Network, w.obs.PodIPs = true, c.ips }, nil
	})
}

func (w *worker) sandboxFailed(pod *corev1.Pod, err error) error {
	if !errors.Is(err, context.Canceled) {
		w.a.recorder.Event(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
	}
	return err
}

func (w *worker) attach(ctx context.Context, pod *corev1.Pod, sb driver.Sandbox) ([]string, error) {
	if sb.NetNS == "" {
		return w.a.unattached(&sb), nil
	}
	if err := w.a.network.wait(ctx); err != nil {
		return nil, err
	}
	at := attachment{Pod: network.Pod{
		Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID),
		SandboxID: sb.ID, NetNS: sb.NetNS, Ports: hostPorts(pod), Annotations: pod.Annotations,
	}}
	if err := w.a.saveAttachment(at); err != nil {
		return nil, err
	}
	res, err := w.a.cfg.Network.Attach(ctx, at.Pod)
	if err != nil {
		return nil, fmt.Errorf("attach to the network: %w", err)
	}
	if len(res.IPs) == 0 {
		return nil, errors.New("attach to the network: the network plugin gave no address")
	}
	at.IPs, at.Done = res.IPs, true
	return res.IPs, w.a.saveAttachment(at)
}

func hostPorts(pod *corev1.Pod) []network.PortMapping {
	var out []network.PortMapping
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, p := range c.Ports {
				if p.HostPort > 0 {
					out = append(out, network.PortMapping{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: string(p.Protocol), HostIP: p.HostIP})
				}
			}
		}
	}
	return out
}

// detach undoes attach; what was never attached is no error.
func (w *worker) detach(ctx context.Context, sb driver.Sandbox) error {
	return w.a.detach(ctx, sb.ID)
}

func (a *Agent) detach(ctx context.Context, sandboxID string) error {
	at, err := a.loadAttachment(sandboxID)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && a.cfg.Network != nil {
		if err := a.network.wait(ctx); err != nil {
			return err
		}
		if err := a.cfg.Network.Detach(ctx, at.Pod); err != nil {
			return fmt.Errorf("detach from the network: %w", err)
		}
	}
	if err := os.Remove(a.attachmentFile(sandboxID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget network: %w", err)
	}
	return nil
}

// remove removes everything of a pod whose containers have ended, and in the end the
// Pod object, unless that is gone already.
func (w *worker) remove(ctx context.Context, pod *corev1.Pod, st corev1.PodStatus, gone bool) error {
	if !gone {
		if err := w.reporter.patch(ctx, pod, st); err != nil {
			return err
		}
	}
	if err := w.a.clean(ctx, pod.UID, pod.Namespace, pod.Name); err != nil {
		return err
	}
	if gone {
		return nil
	}
	zero := int64(0)
	err := w.a.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete the Pod object: %w", err)
	}
	return nil
}

// clean removes sandboxes, volumes, control groups and logs of a pod.
func (a *Agent) clean(ctx context.Context, uid types.UID, namespace, name string) error {
	for _, sb := range a.runtime.all()[uid] {
		if err := a.detach(ctx, sb.ID); err != nil {
			return err
		}
		if err := a.cfg.Driver.RemoveSandbox(ctx, sb.ID); err != nil {
			return err
		}
	}
	if err := a.volumes.Teardown(ctx, string(uid)); err != nil {
		return err
	}
	for _, qos := range []corev1.PodQOSClass{corev1.PodQOSGuaranteed, corev1.PodQOSBurstable, corev1.PodQOSBestEffort} {
		if err := cgroup.Remove(a.podCgroup(qos, uid)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(a.logDir(namespace, name, uid)); err != nil {
		return fmt.Errorf("remove logs: %w", err)
	}
	a.puller.Forget(string(uid))
	return nil
}

func (w *worker) setupVolumes(ctx context.Context, pod *corev1.Pod, podIPs []string) (map[string]string, error) {
	w.a.volumeLocks.lock(pod.UID)
	defer w.a.volumeLocks.unlock(pod.UID)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return w.a.volumes.Setup(ctx, pod, w.a.downwardFacts(podIPs))
}

// releaseVolumes unmounts what a pod that has ended has of claims.
func (w *worker) releaseVolumes(ctx context.Context) error {
	w.a.volumeLocks.lock(w.uid)
	defer w.a.volumeLocks.unlock(w.uid)
	return w.a.volumes.Release(ctx, string(w.uid))
}
