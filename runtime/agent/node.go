package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/pintle-dev/pintle/runtime/image"
)

// Below these a node is under pressure.
const (
	memoryPressureBytes = 100 << 20
	diskPressurePercent = 90
)

// uninitialized is the taint of a node that its cloud has not looked at.
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// nodeStatus keeps the Node object: registers it, keeps its labels and its status.
type nodeStatus struct {
	a    *Agent
	wake chan struct{}
	port int32
	last *corev1.Node
}

func newNodeStatus(a *Agent) *nodeStatus {
	return &nodeStatus{a: a, wake: make(chan struct{}, 1)}
}

// poke makes the status be looked at now.
func (n *nodeStatus) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// labels every node has.
func (n *nodeStatus) labels() map[string]string {
	out := map[string]string{
		corev1.LabelHostname:    n.a.cfg.NodeName,
		corev1.LabelOSStable:    goruntime.GOOS,
		corev1.LabelArchStable:  goruntime.GOARCH,
		"beta.kubernetes.io/os": goruntime.GOOS, "beta.kubernetes.io/arch": goruntime.GOARCH,
	}
	for k, v := range n.a.cfg.Labels {
		out[k] = v
	}
	return out
}

// register makes the Node object or takes over the one there is, trying until it works.
func (n *nodeStatus) register(ctx context.Context) (*corev1.Node, error) {
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		node, err := n.registerOnce(ctx)
		if err == nil {
			return node, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n.a.log.Warn("cannot register the node", "node", n.a.cfg.NodeName, "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(delay):
		}
	}
}

func (n *nodeStatus) registerOnce(ctx context.Context) (*corev1.Node, error) {
	nodes := n.a.client.CoreV1().Nodes()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.a.cfg.NodeName, Labels: n.labels()},
		Spec:       corev1.NodeSpec{Taints: n.a.cfg.Taints, ProviderID: n.a.cfg.ProviderID},
	}
	if n.a.cfg.ExternalCloud {
		node.Spec.Taints = append(slices.Clone(node.Spec.Taints), corev1.Taint{Key: uninitialized, Value: "true", Effect: corev1.TaintEffectNoSchedule})
	}
	status, err := n.status(ctx, node)
	if err != nil {
		return nil, err
	}
	node.Status = status
	have, err := nodes.Get(ctx, n.a.cfg.NodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		have, err = nodes.Create(ctx, node, metav1.CreateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("register node: %w", err)
	}
	labels := map[string]string{}
	for k, v := range n.labels() {
		if have.Labels[k] != v {
			labels[k] = v
		}
	}
	if len(labels) > 0 {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
		if err != nil {
			return nil, fmt.Errorf("label node: %w", err)
		}
		if have, err = nodes.Patch(ctx, have.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return nil, fmt.Errorf("label node: %w", err)
		}
	}
	return n.update(ctx, have)
}

// update reports the status where it differs from what the object says.
func (n *nodeStatus) update(ctx context.Context, have *corev1.Node) (*corev1.Node, error) {
	status, err := n.status(ctx, have)
	if err != nil {
		return nil, err
	}
	oldJSON, err := json.Marshal(corev1.Node{Status: have.Status})
	if err != nil {
		return nil, fmt.Errorf("encode node status: %w", err)
	}
	newJSON, err := json.Marshal(corev1.Node{Status: status})
	if err != nil {
		return nil, fmt.Errorf("encode node status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(oldJSON, newJSON, corev1.Node{})
	if err != nil {
		return nil, fmt.Errorf("make node status patch: %w", err)
	}
	if string(patch) == "{}" {
		n.last = have
		return have, nil
	}
	got, err := n.a.client.CoreV1().Nodes().Patch(ctx, have.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch node status: %w", err)
	}
	n.last = got
	return got, nil
}

// run reports the status every StatusInterval and sooner when it changes.
func (n *nodeStatus) run(ctx context.Context) {
	check := time.NewTicker(10 * time.Second)
	defer check.Stop()
	due := time.Now().Add(n.a.cfg.StatusInterval)
	for {
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			forced = true
		case <-check.C:
		}
		if !forced && time.Now().Before(due) && !n.changed(ctx) {
			continue
		}
		if err := n.refresh(ctx); err != nil {
			if ctx.Err() == nil {
				n.a.log.Warn("cannot report the node's status", "err", err)
			}
			continue
		}
		due = time.Now().Add(n.a.cfg.StatusInterval)
	}
}

func (n *nodeStatus) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	have, err := n.a.client.CoreV1().Nodes().Get(ctx, n.a.cfg.NodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = n.registerOnce(ctx) // somebody deleted it
		return err
	}
	if err != nil {
		return err
	}
	_, err = n.update(ctx, have)
	return err
}

// changed compares what matters with what was reported last.
func (n *nodeStatus) changed(ctx context.Context) bool {
	if n.last == nil {
		return true
	}
	now, err := n.status(ctx, n.last)
	if err != nil {
		return true
	}
	old := n.last.Status
	if len(now.Conditions) != len(old.Conditions) || !equality.Semantic.DeepEqual(now.Capacity, old.Capacity) || len(now.Images) != len(old.Images) {
		return true
	}
	for i := range now.Conditions {
		if now.Conditions[i].Status != old.Conditions[i].Status || now.Conditions[i].Reason != old.Conditions[i].Reason {
			return true
		}
	}
	return false
}

// status says how the node is. It keeps what others wrote into have.
func (n *nodeStatus) status(ctx context.Context, have *corev1.Node) (corev1.NodeStatus, error) {
	st := *have.Status.DeepCopy()
	if !n.a.cfg.ExternalCloud || have.Spec.ProviderID == "" || len(st.Addresses) == 0 { // else they are the cloud's
		st.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.a.cfg.NodeIP}, {Type: corev1.NodeHostName, Address: n.a.cfg.NodeName}}
	}
	st.DaemonEndpoints.KubeletEndpoint.Port = n.port
	capacity := n.a.capacity()
	st.Capacity = capacity
	st.Allocatable = corev1.ResourceList{}
	for r, q := range capacity {
		q = q.DeepCopy()
		if res, ok := n.a.cfg.Reserved[r]; ok {
			q.Sub(res)
			if q.Sign() < 0 {
				q = resource.Quantity{Format: q.Format}
			}
		}
		st.Allocatable[r] = q
	}
	version, verr := n.a.cfg.Driver.Version(ctx)
	if verr != nil {
		version = have.Status.NodeInfo.ContainerRuntimeVersion // it is away
	}
	st.NodeInfo = nodeInfo(n.a.cfg.Version, version)
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	set := func(t corev1.NodeConditionType, bad bool, badReason, badMsg, okReason, okMsg string) {
		c := corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, Reason: okReason, Message: okMsg, LastHeartbeatTime: now, LastTransitionTime: now}
		if bad {
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, badReason, badMsg
		}
		if t == corev1.NodeReady {
			c.Status = map[corev1.ConditionStatus]corev1.ConditionStatus{corev1.ConditionTrue: corev1.ConditionFalse, corev1.ConditionFalse: corev1.ConditionTrue}[c.Status]
		}
		for i := range st.Conditions {
			if st.Conditions[i].Type == t {
				if st.Conditions[i].Status == c.Status {
					c.LastTransitionTime = st.Conditions[i].LastTransitionTime
				}
				st.Conditions[i] = c
				return
			}
		}
		st.Conditions = append(st.Conditions, c)
	}
	set(corev1.NodeMemoryPressure, availableMemory() < memoryPressureBytes, "KubeletHasInsufficientMemory", "the node has little memory left", "KubeletHasSufficientMemory", "the node has sufficient memory available")
	use, derr := image.DiskUsage(n.a.cfg.Dir)
	set(corev1.NodeDiskPressure, derr == nil && use >= diskPressurePercent, "KubeletHasDiskPressure", fmt.Sprintf("the disk is %d%% full", use), "KubeletHasNoDiskPressure", "the node has no disk pressure")
	set(corev1.NodePIDPressure, pidPressure(), "KubeletHasInsufficientPID", "the node has few process ids left", "KubeletHasSufficientPID", "the node has sufficient PID available")
	nerr := n.a.network.state()
	switch {
	case verr != nil:
		set(corev1.NodeReady, true, "KubeletNotReady", "container runtime is down: "+verr.Error(), "", "")
	case nerr != nil:
		set(corev1.NodeReady, true, "KubeletNotReady", "container runtime network not ready: "+nerr.Error(), "", "")
	default:
		set(corev1.NodeReady, false, "", "", "KubeletReady", "the node agent is posting ready status")
	}
	if verr == nil {
		if imgs, err := n.images(ctx); err == nil {
			st.Images = imgs
		}
	}
	return st, nil
}

// images lists the largest ones, for the scheduler.
func (n *nodeStatus) images(ctx context.Context) ([]corev1.ContainerImage, error) {
	list, err := n.a.cfg.Driver.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	var out []corev1.ContainerImage
	for _, i := range list {
		if len(out) == 50 {
			break
		}
		out = append(out, corev1.ContainerImage{Names: append(append([]string{}, i.RepoDigests...), i.RepoTags...), SizeBytes: i.SizeBytes})
	}
	return out, nil
}

// capacity of the machine, with the configuration's overrides.
func (a *Agent) capacity() corev1.ResourceList {
	out := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(goruntime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(meminfo("MemTotal"), resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(110, resource.DecimalSI),
	}
	var st unix.Statfs_t
	if unix.Statfs(a.cfg.Dir, &st) == nil {
		out[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(st.Blocks)*st.Bsize, resource.BinarySI)
	}
	for r, q := range a.cfg.Capacity {
		out[r] = q
	}
	return out
}

// memory of the node in bytes.
func (a *Agent) memory() int64 {
	m := a.capacity()[corev1.ResourceMemory]
	return m.Value()
}

func meminfo(field string) int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			f := strings.Fields(rest)
			if len(f) > 0 {
				n, _ := strconv.ParseInt(f[0], 10, 64)
				return n * 1024
			}
		}
	}
	return 0
}

func availableMemory() int64 { return meminfo("MemAvailable") }

func pidPressure() bool {
	read := func(p string) int64 {
		b, err := os.ReadFile(p)
		if err != nil {
			return 0
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n
	}
	limit := min(read("/proc/sys/kernel/pid_max"), read("/proc/sys/kernel/threads-max"))
	var si unix.Sysinfo_t
	return unix.Sysinfo(&si) == nil && limit > 0 && int64(si.Procs) > limit*9/10
}

func nodeInfo(version, runtimeVersion string) corev1.NodeSystemInfo {
	read := func(p string) string {
		b, _ := os.ReadFile(p)
		return strings.TrimSpace(string(b))
	}
	info := corev1.NodeSystemInfo{
		MachineID: read("/etc/machine-id"), SystemUUID: read("/sys/class/dmi/id/product_uuid"), BootID: read("/proc/sys/kernel/random/boot_id"),
		KernelVersion: read("/proc/sys/kernel/osrelease"), ContainerRuntimeVersion: runtimeVersion, KubeletVersion: version,
		OperatingSystem: goruntime.GOOS, Architecture: goruntime.GOARCH,
	}
	for line := range strings.Lines(read("/etc/os-release")) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			info.OSImage = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return info
}

// listenPort is the port a listener has.
func listenPort(l net.Listener) (int32, error) {
	t, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("the kubelet API does not listen on TCP")
	}
	return int32(t.Port), nil
}
