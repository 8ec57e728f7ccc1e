package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/runtime/cgroup"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
	"github.com/pintle-dev/pintle/runtime/driver/containerd/daemon"
	"github.com/pintle-dev/pintle/runtime/internal/testimage"
	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

const realImage = "docker.io/library/busybox:agent-test"

// TestRealContainers runs the agent on a real containerd: a pod with what pods have, a
// restart of agent and driver under it, its deletion, and a teardown that leaves nothing.
func TestRealContainers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	for _, bin := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skipf("%s is not installed", bin)
		}
	}
	img := testimage.Busybox(t)
	dir, err := os.MkdirTemp("", "pintle-agent-")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	dcfg := daemon.Config{Dir: filepath.Join(dir, "containerd")}
	root := fmt.Sprintf("/pintle-agent-test-%d", os.Getpid())
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cm"}, Data: map[string]string{"greeting": "hello"}})
	net := &fakeNet{attached: map[string]bool{}}
	var drv *containerd.Driver
	t.Cleanup(func() {
		if drv != nil {
			if err := errors.Join(drv.Teardown(ctx, true), drv.Close()); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(daemon.Stop(ctx, dcfg), cgroup.Remove(root)); err != nil {
			t.Error(err)
		}
		if left, _ := mountinfo.GetMounts(mountinfo.PrefixFilter(dir)); len(left) > 0 {
			t.Errorf("mounts are left: %s", left[0].Mountpoint)
		}
		os.RemoveAll(dir)
	})
	start := func() (*Agent, func()) {
		dm, err := daemon.Ensure(ctx, dcfg)
		if err != nil {
			t.Fatal(err)
		}
		if drv, err = containerd.New(ctx, containerd.Config{Address: dm.Address, RuncRoot: dm.RuncRoot, Dir: filepath.Join(dir, "driver"), Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		cfg := Config{
			NodeName: "n1", NodeIP: "192.0.2.1", Client: &rest.Config{}, Driver: drv, Network: net, Dir: filepath.Join(dir, "agent"),
			ListenAddress: "-", CgroupRoot: root, PodCIDRs: []string{"10.0.0.0/24"}, Logger: slog.New(slog.DiscardHandler),
		}
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		a := newAgent(cfg, client)
		runCtx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.Run(runCtx) }()
		return a, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	r := &rig{t: t, client: client, net: net, dir: filepath.Join(dir, "agent")}
	a, stop := start()
	if _, err := drv.ImportImages(ctx, testimage.Archive(t, img, realImage)); err != nil {
		t.Fatal(err)
	}
	r.until("the agent watches pods", func() bool { return r.watching("pods") })

	pod := testPod(corev1.RestartPolicyAlways, []corev1.Container{{Name: "i", Image: realImage, Command: []string{"sh", "-c", "echo $WORD > /shared/word"}, Env: []corev1.EnvVar{{Name: "WORD", Value: "fromInit"}}, VolumeMounts: []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}}})
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}},
	}
	pod.Spec.Containers = []corev1.Container{{
		Name: "c", Image: realImage, TerminationMessagePath: "/dev/termination-log",
		Command:        []string{"sh", "-c", `trap 'echo farewell > /dev/termination-log; exit 4' TERM; cat /shared/word /cm/greeting; echo; cat /etc/hosts; hostname; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done`},
		VolumeMounts:   []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}, {Name: "cm", MountPath: "/cm"}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-f", "/shared/word"}}}, PeriodSeconds: 1, TimeoutSeconds: 5},
		Resources:      corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("500m")}},
	}}
	r.create(pod)
	st := r.status("ready", isReady)
	if st.ContainerStatuses[0].ImageID == "" || !strings.HasPrefix(st.ContainerStatuses[0].ContainerID, "containerd://") {
		t.Errorf("%+v", st.ContainerStatuses[0])
	}
	log := func(previous bool) string {
		c, err := backend{a}.Container(ctx, "ns", "p", "", "c", previous)
		if err != nil {
			return err.Error()
		}
		var b bytes.Buffer
		if err := logs.Read(ctx, c.LogPath, logs.Options{}, nil, &b, &b); err != nil {
			return err.Error()
		}
		return b.String()
	}
	r.until("it has said its piece", func() bool { return strings.Contains(log(false), "line 3\n") })
	for _, want := range []string{"fromInit\n", "hello", "10.0.0.1\tp\n", "\np\n"} {
		if !strings.Contains(log(false), want) {
			t.Errorf("%q is not in\n%s", want, log(false))
		}
	}

	// The agent goes and comes back: same process, same address, no line lost.
	pid := pidOf(t, drv, "c")
	stop()
	if err := drv.Close(); err != nil {
		t.Fatal(err)
	}
	client.ClearActions()
	a, stop = start()
	r.until("the new agent watches pods", func() bool { return r.watching("pods") })
	n := strings.Count(log(false), "line ")
	r.until("the log goes on", func() bool { return strings.Contains(log(false), fmt.Sprintf("line %d\n", n+10)) })
	for i := 1; i < n+10; i++ {
		if !strings.Contains(log(false), fmt.Sprintf("\nline %d\n", i)) {
			t.Fatalf("line %d was lost", i)
		}
	}
	if got := pidOf(t, drv, "c"); got != pid {
		t.Errorf("process %d, before %d", got, pid)
	}

	// Killed from outside it is restarted, and the log of before stays readable.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	st = r.status("restarted", func(s *corev1.PodStatus) bool { return isReady(s) && s.ContainerStatuses[0].RestartCount == 1 })
	if l := st.ContainerStatuses[0].LastTerminationState.Terminated; l == nil || l.ExitCode != 137 || st.PodIP != "10.0.0.1" {
		t.Errorf("%+v, address %s", l, st.PodIP)
	}
	if !strings.Contains(log(true), "line 3\n") {
		t.Errorf("the log before the restart is %q", log(true))
	}

	// Its end: the signal, the message, and nothing left.
	var last corev1.PodStatus
	r.remove(20)
	r.until("the pod is gone", func() bool {
		p := r.pod()
		if p != nil {
			last = p.Status
		}
		return p == nil
	})
	if tm := last.ContainerStatuses; len(tm) == 1 && tm[0].State.Terminated != nil && (tm[0].State.Terminated.ExitCode != 4 || tm[0].State.Terminated.Message != "farewell\n") {
		t.Errorf("last state %+v", tm[0].State.Terminated)
	}
	stop()
	if err := a.Teardown(ctx); err != nil {
		t.Error(err)
	}
	for _, d := range []string{"agent", "driver/sandboxes", "driver/containers"} {
		if left, _ := os.ReadDir(filepath.Join(dir, d)); len(left) > 0 {
			t.Errorf("%s is left in %s", left[0].Name(), d)
		}
	}
	if net.count() != 0 {
		t.Errorf("%d sandboxes are attached", net.count())
	}
}

func pidOf(t *testing.T, d *containerd.Driver, name string) int {
	t.Helper()
	list, err := d.ListContainers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == name && c.State == driver.ContainerRunning {
			return c.PID
		}
	}
	t.Fatalf("%s does not run", name)
	return 0
}
