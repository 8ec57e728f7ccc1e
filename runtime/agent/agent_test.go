package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/runtime/driver/sim"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

func TestPodRunsAndGoes(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, []corev1.Container{{Name: "i", Image: "i"}, sidecar("s")}, "a", "b"))
	r.until("init runs", func() bool { l, _ := r.drv.ListContainers(context.Background()); return len(l) == 1 })
	r.until("init is started", func() bool { return r.container("i").State == driver.ContainerRunning })
	r.drv.End(r.container("i").ID, 0)
	st := r.status("ready", isReady)
	if st.PodIP != "10.0.0.1" || st.HostIP != "192.0.2.1" || st.Phase != corev1.PodRunning || st.StartTime == nil || len(st.InitContainerStatuses) != 2 || st.InitContainerStatuses[0].State.Terminated == nil {
		t.Errorf("status is %+v", st)
	}
	hosts, _ := os.ReadFile(filepath.Join(r.dir, "pods/uid/hosts"))
	resolv, _ := os.ReadFile(filepath.Join(r.dir, "pods/uid/resolv.conf"))
	if !strings.Contains(string(hosts), "10.0.0.1\tp\n") || !strings.Contains(string(resolv), "search ns.svc.cluster.local svc.cluster.local cluster.local") || !strings.Contains(string(resolv), "nameserver 10.96.0.10\n") {
		t.Errorf("hosts:\n%s\nresolv.conf:\n%s", hosts, resolv)
	}
	for _, want := range []string{"Pulled", "Created", "Started"} {
		r.until("event "+want, func() bool { return slices.Contains(r.events(), want) })
	}
	r.remove(30)
	r.until("the pod is gone", func() bool { return r.pod() == nil })
	r.until("nothing is left", func() bool {
		s, _ := r.drv.ListSandboxes(context.Background())
		left, _ := os.ReadDir(filepath.Join(r.dir, "pods"))
		logs, _ := os.ReadDir(filepath.Join(r.dir, "logs"))
		return len(s) == 0 && r.net.count() == 0 && len(left) == 0 && len(logs) == 0
	})
}

func TestNetworkIsTornDownAsItWasSetUp(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	before := r.net.setups
	r.stop()
	r.net.setups = nil // another process knows nothing of them
	if err := r.agent.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.net.setups, before[len(before)-1:]) {
		t.Errorf("it was set up as %+v, before that as %+v", r.net.setups, before)
	}
	if r.net.tornDown != 0 {
		t.Errorf("it was torn down with %d pods attached", r.net.tornDown)
	}
	if left, _ := os.ReadDir(filepath.Join(r.dir, "network")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRestartAndBackOff(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	r.drv.End(r.container("a").ID, 1)
	st := r.status("restarted", func(s *corev1.PodStatus) bool { return isReady(s) && s.ContainerStatuses[0].RestartCount == 1 })
	if l := st.ContainerStatuses[0].LastTerminationState.Terminated; l == nil || l.ExitCode != 1 {
		t.Errorf("last state is %+v", l)
	}
	r.drv.End(r.container("a").ID, 1)
	st = r.status("backing off", func(s *corev1.PodStatus) bool {
		w := s.ContainerStatuses[0].State.Waiting
		return w != nil && w.Reason == reasonCrashLoopBackOff
	})
	if !strings.Contains(st.ContainerStatuses[0].State.Waiting.Message, "back-off 10s") {
		t.Errorf("%+v", st.ContainerStatuses[0].State.Waiting)
	}
}

func TestJob(t *testing.T) {
	r := newRig(t, sim.Options{Started: func(d *sim.Driver, c driver.Container, cfg driver.ContainerConfig) {
		go d.End(c.ID, int32(c.Attempt)-1+1)
	}})
	r.create(testPod(corev1.RestartPolicyOnFailure, nil, "a"))
	r.status("succeeded", func(s *corev1.PodStatus) bool { return s.Phase == corev1.PodSucceeded })
	r.until("the address is given back", func() bool { return r.net.count() == 0 })
}

func TestImagePullFails(t *testing.T) {
	r := newRig(t, sim.Options{Pull: func(string) error { return errors.New("no such image") }})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	st := r.status("backing off", func(s *corev1.PodStatus) bool {
		return len(s.ContainerStatuses) > 0 && s.ContainerStatuses[0].State.Waiting != nil && s.ContainerStatuses[0].State.Waiting.Reason == "ImagePullBackOff"
	})
	if !strings.Contains(st.ContainerStatuses[0].State.Waiting.Message, "no such image") || st.Phase != corev1.PodPending {
		t.Errorf("%+v", st.ContainerStatuses[0].State.Waiting)
	}
	// Even so it can be deleted.
	r.remove(30)
	r.until("the pod is gone", func() bool { return r.pod() == nil })
}

func TestNetworkFailsAtFirst(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.net.mu.Lock()
	r.net.fail = 1
	r.net.mu.Unlock()
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	if !slices.Contains(r.events(), "FailedCreatePodSandBox") {
		t.Errorf("events are %v", r.events())
	}
	if s, _ := r.drv.ListSandboxes(context.Background()); len(s) != 1 {
		t.Errorf("%d sandboxes", len(s))
	}
}

func TestLostSandboxIsReplaced(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	s, _ := r.drv.ListSandboxes(context.Background())
	r.drv.BreakSandbox(s[0].ID)
	r.drv.End(r.container("a").ID, 255)
	r.status("ready with another address", func(s *corev1.PodStatus) bool { return isReady(s) && s.PodIP == "10.0.0.2" })
}

func TestAgentRestartTouchesNothing(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	before := r.status("ready", isReady)
	r.stop()
	r.client.ClearActions()
	r.start()
	// A change that is the new agent's shows that it is at work.
	r.drv.End(r.container("a").ID, 1)
	after := r.status("restarted", func(s *corev1.PodStatus) bool { return isReady(s) && s.ContainerStatuses[0].RestartCount == 1 })
	if after.PodIP != before.PodIP || r.net.count() != 1 {
		t.Errorf("address %s, before %s", after.PodIP, before.PodIP)
	}
	if s, _ := r.drv.ListSandboxes(context.Background()); len(s) != 1 || s[0].Attempt != 0 {
		t.Errorf("sandboxes %+v", s)
	}
}

func TestOrphansAreRemoved(t *testing.T) {
	r := newRig(t, sim.Options{})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	r.stop()
	if err := r.client.CoreV1().Pods("ns").Delete(context.Background(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.client.ClearActions()
	r.start()
	r.until("nothing is left", func() bool {
		s, _ := r.drv.ListSandboxes(context.Background())
		return len(s) == 0 && r.net.count() == 0
	})
}

func TestGraceIsCutShort(t *testing.T) {
	r := newRig(t, sim.Options{Ignore: func(driver.ContainerConfig) bool { return true }})
	r.create(testPod(corev1.RestartPolicyAlways, nil, "a"))
	r.status("ready", isReady)
	start := time.Now()
	r.remove(600)
	r.until("it is being killed", func() bool { return slices.Contains(r.events(), "Killing") })
	r.remove(0)
	r.until("the pod is gone", func() bool { return r.pod() == nil })
	if time.Since(start) > 8*time.Second {
		t.Error("the shorter grace did not count")
	}
}

func TestProbes(t *testing.T) {
	var mu sync.Mutex
	answer := map[string]int{"startup": 1, "live": 0, "ready": 1}
	set := func(k string, v int) { mu.Lock(); answer[k] = v; mu.Unlock() }
	r := newRig(t, sim.Options{Exec: func(_ string, cmd []string) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return answer[cmd[0]], nil
	}})
	probe := func(cmd string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{cmd}}}, PeriodSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 1}
	}
	p := testPod(corev1.RestartPolicyAlways, nil, "a")
	c := &p.Spec.Containers[0]
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = probe("startup"), probe("live"), probe("ready")
	c.StartupProbe.FailureThreshold = 100
	r.create(p)
	st := r.status("running", func(s *corev1.PodStatus) bool { return s.Phase == corev1.PodRunning })
	if *st.ContainerStatuses[0].Started || isReady(&st) {
		t.Errorf("before its startup probe: %+v", st.ContainerStatuses[0])
	}
	set("startup", 0)
	r.status("started", func(s *corev1.PodStatus) bool { return *s.ContainerStatuses[0].Started && !isReady(s) })
	set("ready", 0)
	r.status("ready", isReady)
	set("live", 1)
	r.status("restarted", func(s *corev1.PodStatus) bool { return s.ContainerStatuses[0].RestartCount == 1 })
	for _, want := range []string{"Unhealthy", "Killing"} {
		r.until("event "+want, func() bool { return slices.Contains(r.events(), want) })
	}
}

func TestHooks(t *testing.T) {
	var mu sync.Mutex
	var ran []string
	r := newRig(t, sim.Options{Exec: func(_ string, cmd []string) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, cmd[0])
		return 0, nil
	}})
	p := testPod(corev1.RestartPolicyAlways, nil, "a")
	hook := func(cmd string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{cmd}}}
	}
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: hook("post"), PreStop: hook("pre")}
	r.create(p)
	r.status("ready", isReady)
	r.remove(30)
	r.until("the pod is gone", func() bool { return r.pod() == nil })
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(ran, []string{"post", "pre"}) {
		t.Errorf("hooks ran: %v", ran)
	}
}

func TestDeadline(t *testing.T) {
	r := newRig(t, sim.Options{})
	p := testPod(corev1.RestartPolicyAlways, nil, "a")
	p.Spec.ActiveDeadlineSeconds = ptr(int64(1))
	r.create(p)
	st := r.status("failed", func(s *corev1.PodStatus) bool { return s.Phase == corev1.PodFailed })
	if st.Reason != reasonDeadlineExceeded {
		t.Errorf("reason %q", st.Reason)
	}
	r.until("it is stopped", func() bool { return r.container("a").State == driver.ContainerExited })
}

func TestEnvironment(t *testing.T) {
	r := newRig(t, sim.Options{},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: "https", Port: 443, Protocol: "TCP"}}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "my-db"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Port: 5432}}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "hidden"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.8", Ports: []corev1.ServicePort{{Port: 1}}}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cm"}, Data: map[string]string{"K": "v"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"pw": []byte("x")}},
	)
	p := testPod(corev1.RestartPolicyAlways, nil, "a")
	c := &p.Spec.Containers[0]
	c.EnvFrom = []corev1.EnvFromSource{{Prefix: "CM_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}}
	c.Env = []corev1.EnvVar{
		{Name: "PW", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "pw"}}},
		{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "ALL", Value: "$(CM_K)-$(PW)-$(IP)-$(MY_DB_SERVICE_HOST)-$(NONE)"},
		{Name: "OPT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "x", Optional: ptr(true)}}},
	}
	c.Command = []string{"run", "$(PW)"}
	r.create(p)
	r.status("ready", isReady)
	cfg, _ := r.drv.Config(r.container("a").ID)
	for _, want := range []string{"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT_HTTPS=443", "MY_DB_PORT_5432_TCP_ADDR=10.96.0.9", "CM_K=v", "PW=x", "IP=10.0.0.1", "ALL=v-x-10.0.0.1-10.96.0.9-$(NONE)", "HOSTNAME=p"} {
		if !slices.Contains(cfg.Env, want) {
			t.Errorf("%s is not in %v", want, cfg.Env)
		}
	}
	for _, e := range cfg.Env {
		if strings.HasPrefix(e, "OPT=") || strings.HasPrefix(e, "HIDDEN") {
			t.Errorf("%s should not be there", e)
		}
	}
	if !slices.Equal(cfg.Command, []string{"run", "x"}) {
		t.Errorf("command %v", cfg.Command)
	}
}

func TestMissingConfigMapThenThere(t *testing.T) {
	r := newRig(t, sim.Options{})
	p := testPod(corev1.RestartPolicyAlways, nil, "a")
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "x"}}}}
	r.create(p)
	st := r.status("waiting", func(s *corev1.PodStatus) bool {
		return len(s.ContainerStatuses) > 0 && s.ContainerStatuses[0].State.Waiting != nil && s.ContainerStatuses[0].State.Waiting.Reason == "CreateContainerConfigError"
	})
	if !strings.Contains(st.ContainerStatuses[0].State.Waiting.Message, `"cm" not found`) {
		t.Errorf("%+v", st.ContainerStatuses[0].State.Waiting)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cm"}, Data: map[string]string{"x": "1"}}
	if _, err := r.client.CoreV1().ConfigMaps("ns").Create(context.Background(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.status("ready", isReady)
}

func TestNodeAndLease(t *testing.T) {
	r := newRig(t, sim.Options{})
	ctx := context.Background()
	r.until("the node is ready", func() bool {
		n, err := r.client.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return n.Status.Capacity.Cpu().Value() > 0 && n.Labels[corev1.LabelHostname] == "n1" && n.Status.NodeInfo.ContainerRuntimeVersion == "sim://1"
			}
		}
		return false
	})
	r.until("it has a lease", func() bool {
		l, err := r.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, "n1", metav1.GetOptions{})
		return err == nil && *l.Spec.HolderIdentity == "n1" && len(l.OwnerReferences) == 1
	})
	r.until("the network is set up", func() bool {
		r.net.mu.Lock()
		defer r.net.mu.Unlock()
		return len(r.net.setups) > 0 && slices.Equal(r.net.setups[0].PodCIDRs, []string{"10.0.0.0/24"})
	})
}

func TestConfigErrors(t *testing.T) {
	_, err := New(Config{NodeIP: "x"})
	for _, want := range []string{"NodeName", "NodeIP", "Client", "Driver", "Dir", "ServingCert", "ClientCA"} {
		if err == nil || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
