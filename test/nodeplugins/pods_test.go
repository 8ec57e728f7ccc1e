package nodeplugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/test/process"
)

// onNode is a pod that runs a script on a node, in the network of that.
func onNode(node, name, image, script string) *corev1.Pod {
	none, grace := false, int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &none, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "sh", Image: image, Command: []string{"sh", "-c", script}}},
		},
	}
}

func (c *cluster) pods(t *testing.T) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (c *cluster) create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := c.client.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// phase waits until a pod is in a phase.
func (c *cluster) phase(t *testing.T, name string, want corev1.PodPhase) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	process.Eventually(t, time.Minute, "pod "+name+" is "+string(want), func() (err error) {
		pod, err = c.client.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && pod.Status.Phase != want {
			err = fmt.Errorf("it is %s: %+v %s", pod.Status.Phase, pod.Status.ContainerStatuses, c.events(t, name))
		}
		return err
	})
	return pod
}

// gone deletes a pod and waits until it is gone.
func (c *cluster) gone(t *testing.T, name string) {
	t.Helper()
	pods := c.client.CoreV1().Pods(metav1.NamespaceDefault)
	if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	process.Eventually(t, time.Minute, "pod "+name+" is gone", func() error {
		if _, err := pods.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("it is there"))
		}
		return nil
	})
}

func (c *cluster) events(t *testing.T, pod string) string {
	t.Helper()
	list, err := c.client.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var out []string
	for i := range list.Items {
		if e := &list.Items[i]; e.InvolvedObject.Name == pod {
			out = append(out, e.Reason+": "+e.Message)
		}
	}
	return strings.Join(out, "\n")
}

// proc is a process of this machine.
type proc struct {
	pid, parent int
	command     string
}

func processes() map[int]proc {
	out := map[int]proc{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		command, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		out[pid] = proc{pid, parent, strings.ReplaceAll(string(command), "\x00", " ")}
	}
	return out
}

// below are the descendants of a process, but for containerd and what it runs: pods go on
// without their agent.
func below(pid int, all map[int]proc) []proc {
	var out []proc
	for _, p := range all {
		if p.parent == pid && !strings.Contains(p.command, "containerd") {
			out = append(append(out, p), below(p.pid, all)...)
		}
	}
	return out
}

// An agent that is killed takes the plugins of its node along, the cluster's own and guests with
// what they have started, and leaves pods alone; the next one takes over.
func TestKilledAgentLeavesPodsAndNoPlugins(t *testing.T) {
	const configured = `plugins:
- {name: sentry, directory: "%D/sentry-1.0.0", allowUnsigned: true, nodeScoped: true, grant: true, args: [guest, sentry]}
- {name: network, settings: {clusterCIDR: 10.243.0.0/16, bridge: pintle-np0}}
- {name: serviceproxy, settings: {tableName: pintle-np-services}}
`
	c := start(t, configured)
	bundle(t, c.Dir, "sentry", "1.0.0", "controller")
	a := c.join(t, "node-a", configured)
	c.pods(t)
	c.ready(t, "node-a")
	c.report(t, "node-a", "1.0.0")
	for _, name := range []string{"sentry.node-a", "network.node-a", "serviceproxy.node-a"} {
		process.Eventually(t, time.Minute, name+" runs", func() error {
			_, health, _, err := c.plugin(t.Context(), name)
			if err == nil && health != "Healthy" {
				err = errors.New(health)
			}
			return err
		})
	}
	image := c.image(t)
	c.create(t, onNode("node-a", "steady", image, "exec sleep 1234567"))
	before := c.phase(t, "steady", corev1.PodRunning)

	victims := below(a.cmd.Process.Pid, processes())
	for _, want := range []string{"plugin serve network", "plugin serve serviceproxy", "guest sentry", daemonTime} {
		if !slices.ContainsFunc(victims, func(p proc) bool { return strings.Contains(p.command, want) }) {
			t.Errorf("no %q among %v", want, victims)
		}
	}
	inPod := running("1234567")
	killed := time.Now()
	a.end(syscall.SIGKILL)
	process.Eventually(t, time.Second, "no plugin of the node is left", func() error {
		now := processes()
		for _, p := range victims {
			if left, ok := now[p.pid]; ok && left.command == p.command {
				return fmt.Errorf("%+v", left)
			}
		}
		return nil
	})
	t.Logf("%d processes ended within %v", len(victims), time.Since(killed))
	if now := running("1234567"); !slices.Equal(now, inPod) || len(now) == 0 {
		t.Errorf("processes of the pod: %v, then %v", inPod, now)
	}

	a.start()
	process.Eventually(t, time.Minute, "plugins run again", func() error {
		for _, name := range []string{"sentry.node-a", "network.node-a", "serviceproxy.node-a"} {
			pid := int(c.pid(t, name))
			if _, ok := processes()[pid]; !ok || slices.ContainsFunc(victims, func(p proc) bool { return p.pid == pid }) {
				return fmt.Errorf("%s is said to be process %d", name, pid)
			}
		}
		return nil
	})
	c.create(t, onNode("node-a", "later", image, "true"))
	c.phase(t, "later", corev1.PodSucceeded)
	after := c.phase(t, "steady", corev1.PodRunning)
	if b, a := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; b.ContainerID != a.ContainerID || a.RestartCount != 0 {
		t.Errorf("the pod did not go on: %+v, then %+v", b, a)
	}
	c.gone(t, "later")
	c.gone(t, "steady")
}

// The volume of a storage without any privileges outlives the pods that use it, its plugin's
// restart and the agent's death, and a pod that cannot have it says why.
func TestClaimsOnANode(t *testing.T) {
	c := start(t, "plugins: []\n")
	a := c.join(t, "node-a", "plugins: []\n")
	c.pods(t)
	c.ready(t, "node-a")
	image := c.image(t)
	c.claim(t, "data")
	with := func(name, claim, script string) *corev1.Pod {
		pod := onNode("node-a", name, image, script)
		user := int64(65534)
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &user, FSGroup: &user}
		pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
		pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/data"}}
		return pod
	}
	says := func(pod, want string) {
		t.Helper()
		process.Eventually(t, time.Minute, pod+" says why it waits", func() error {
			if got := c.events(t, pod); !strings.Contains(got, want) {
				return fmt.Errorf("it says %s", got)
			}
			return nil
		})
	}

	c.create(t, with("writer", "data", "echo hello > /data/f && exec sleep 1234568"))
	says("writer", `FailedMount: MountVolume.MountDevice failed for volume "pv-data" : driver name shelf.example not found in the list of registered CSI drivers`)
	c.pintle(t, "plugin", "install", c.push(t, "shelf", "1.0.0", "storage"), "--node-scoped", "--arg", "guest", "--arg", "shelf")
	c.phase(t, "writer", corev1.PodRunning)
	file := filepath.Join(a.data(), "hosts", "node", "plugins", "shelf", "volumes", "handle-data", "f")
	process.Eventually(t, 20*time.Second, "the pod has written", func() error {
		_, err := os.Stat(file)
		return err
	})

	// Neither the death of the agent nor a restart of the plugin is noticed by a pod.
	a.end(syscall.SIGKILL)
	a.start()
	c.runs(t, "1.0.0", "shelf.node-a")
	c.pintle(t, "plugin", "restart", "shelf")
	c.gone(t, "writer")
	c.create(t, with("reader", "data", "test \"$(cat /data/f)\" = hello && echo again >> /data/f"))
	c.phase(t, "reader", corev1.PodSucceeded)
	if b, err := os.ReadFile(file); err != nil || string(b) != "hello\nagain\n" {
		t.Errorf("the volume has %q, %v", b, err)
	}
	// A pod that has ended holds its volume no longer, though it is still there.
	process.Eventually(t, 20*time.Second, "the volume is unmounted", func() error {
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err == nil && strings.Contains(string(mounts), a.data()+"/node/pods/") && strings.Contains(string(mounts), "/volumes/v ") {
			err = errors.New("it is mounted")
		}
		return err
	})
	c.gone(t, "reader")

	c.create(t, with("lonely", "none", "true"))
	says("lonely", `error processing PVC default/none: failed to fetch PVC from API server`)
	c.gone(t, "lonely")
	// A storage that is removed keeps no pod from going.
	c.create(t, with("last", "data", "exec sleep 1234569"))
	c.phase(t, "last", corev1.PodRunning)
	c.pintle(t, "plugin", "remove", "shelf")
	c.gone(t, "last")
	if left, _ := filepath.Glob(filepath.Join(a.data(), "hosts", "node", "plugins", "shelf", "mounts", "*")); len(left) > 0 {
		t.Errorf("places are left: %v", left)
	}
}

// claim makes a claim that is bound to a volume of the shelf, as the cluster's binder does.
func (c *cluster) claim(t *testing.T, name string) {
	t.Helper()
	class, size := "", corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	claims, volumes := c.client.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault), c.client.CoreV1().PersistentVolumes()
	claim, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: modes, StorageClassName: &class, VolumeName: "pv-" + name, Resources: corev1.VolumeResourceRequirements{Requests: size},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = volumes.Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: modes, Capacity: size, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "shelf.example", VolumeHandle: "handle-" + name}},
	}}, metav1.CreateOptions{})
	if err == nil {
		claim.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, AccessModes: modes, Capacity: size}
		_, err = claims.UpdateStatus(t.Context(), claim, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
