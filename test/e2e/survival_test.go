package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestKilledContainerIsRestartedAndCounted(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 1))
	waitAvailable(t, ns)
	pod := pods(t, ns)[0]
	if err := syscall.Kill(containerProcess(t, &pod), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the container is restarted", func() error {
		p, err := cluster.client.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		c := p.Status.ContainerStatuses[0]
		if c.RestartCount != 1 || c.State.Running == nil || !c.Ready {
			return fmt.Errorf("restartCount %d, state %+v, ready %v", c.RestartCount, c.State, c.Ready)
		}
		if c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 137 {
			return fmt.Errorf("last state %+v", c.LastTerminationState)
		}
		return nil
	})
	if out := kubectl(t, "-n", ns, "get", "pods"); !strings.Contains(out, "1 (") {
		t.Errorf("RESTARTS does not show the restart:\n%s", out)
	}
}

func TestDeletedPodIsReplaced(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 2))
	waitAvailable(t, ns)
	gone := pods(t, ns)[0]
	kubectl(t, "-n", ns, "delete", "pod", gone.Name)
	eventually(t, 30*time.Second, "two pods without the deleted one", func() error {
		ready := 0
		for _, p := range pods(t, ns) {
			if p.UID == gone.UID {
				return errors.New("the deleted pod is still there")
			}
			if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready {
				ready++
			}
		}
		if ready != 2 {
			return fmt.Errorf("%d ready", ready)
		}
		return nil
	})
}

type pluginObject struct {
	Status struct {
		PID        int      `json:"pid"`
		Health     string   `json:"health"`
		Reason     string   `json:"reason"`
		Restarts   int      `json:"restarts"`
		LastOutput []string `json:"lastOutput"`
	} `json:"status"`
}

func plugin(t *testing.T, name string) (p pluginObject, err error) {
	t.Helper()
	out, err := try(t, "", cluster.pintle, "kubectl", "get", "plugin", name, "-o", "json")
	if err != nil {
		return p, fmt.Errorf("%w: %s", err, out)
	}
	return p, json.Unmarshal([]byte(out), &p)
}

func waitHealthy(t *testing.T, name string, limit time.Duration, not int) pluginObject {
	t.Helper()
	var p pluginObject
	eventually(t, limit, "plugin "+name+" is healthy", func() (err error) {
		if p, err = plugin(t, name); err != nil {
			return err
		}
		if p.Status.Health != "Healthy" || p.Status.PID == 0 || p.Status.PID == not {
			return fmt.Errorf("%+v", p.Status)
		}
		return nil
	})
	return p
}

func TestKilledPluginIsBackWithinTwoSeconds(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 2))
	waitAvailable(t, ns)
	before := containers(t, ns)
	for _, name := range []string{"scheduler", "workloads", "widget", "network.e2e-node", "serviceproxy.e2e-node"} {
		p := waitHealthy(t, name, 20*time.Second, 0)
		if err := syscall.Kill(p.Status.PID, syscall.SIGKILL); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		killed := time.Now()
		eventually(t, 10*time.Second, name+" has a new process", func() error {
			now, err := plugin(t, name)
			if err == nil && (now.Status.PID == p.Status.PID || now.Status.PID == 0) {
				err = fmt.Errorf("%+v", now.Status)
			}
			return err
		})
		// What is measured includes the time kubectl takes to say so.
		if d := time.Since(killed); d > 2500*time.Millisecond {
			t.Errorf("%s was away for %v", name, d)
		}
		if now := waitHealthy(t, name, 20*time.Second, p.Status.PID); now.Status.Restarts <= p.Status.Restarts {
			t.Errorf("%s: restarts %d → %d", name, p.Status.Restarts, now.Status.Restarts)
		}
		if out := run(t, cluster.pintle, "plugin", "info", name); !strings.Contains(out, "killed") {
			t.Errorf("info of %s does not say why it ended:\n%s", name, out)
		}
	}
	if after := containers(t, ns); !sameContainers(before, after) {
		t.Errorf("containers changed:\n%v\n%v", before, after)
	}
	// All of them still do their work.
	kubectl(t, "-n", ns, "scale", "deployment", "hello", "--replicas=3")
	kubectl(t, "-n", ns, "rollout", "status", "deployment/hello", "--timeout=60s")
}

func TestKilledServerLosesNoAcknowledgedWrite(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 2))
	waitAvailable(t, ns)
	before := containers(t, ns)

	// Writers go on until the server is gone; what was acknowledged is remembered.
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var writers sync.WaitGroup
	enough := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("write-%d-%d", w, i)
				_, err := cluster.client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": strconv.Itoa(i)},
				}, metav1.CreateOptions{})
				if err != nil {
					return
				}
				mu.Lock()
				acknowledged[name] = true
				if len(acknowledged) == 200 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	killProcess(t, "server")
	writers.Wait()
	startAgain(t)

	eventually(t, 30*time.Second, "the server answers", func() error {
		_, err := cluster.client.Discovery().ServerVersion()
		return err
	})
	list, err := cluster.client.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Items {
		delete(acknowledged, c.Name)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged writes are lost, such as %v", len(acknowledged), acknowledged)
	}
	for _, name := range []string{"scheduler", "workloads", "widget"} {
		waitHealthy(t, name, 30*time.Second, 0)
	}
	if after := containers(t, ns); !sameContainers(before, after) {
		t.Errorf("containers changed:\n%v\n%v", before, after)
	}
	kubectl(t, "-n", ns, "scale", "deployment", "hello", "--replicas=3")
	kubectl(t, "-n", ns, "rollout", "status", "deployment/hello", "--timeout=60s")
}

func TestPodsOutliveTheAgent(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 2))
	waitAvailable(t, ns)
	before := containers(t, ns)
	killProcess(t, "agent")
	startAgain(t)
	// The new agent takes part again: it starts one more and keeps the old.
	kubectl(t, "-n", ns, "scale", "deployment", "hello", "--replicas=3")
	kubectl(t, "-n", ns, "rollout", "status", "deployment/hello", "--timeout=90s")
	after := containers(t, ns)
	for id, at := range before {
		if !after[id].Equal(at) {
			t.Errorf("container %s did not outlive the agent", id)
		}
	}
	waitHealthy(t, "network.e2e-node", 30*time.Second, 0)
}

func killProcess(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cluster.dir, "data", "run", name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	eventually(t, 10*time.Second, name+" is gone", func() error {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") {
			return errors.New("still there")
		}
		return nil
	})
}

// startAgain brings back what was killed, as its user would.
func startAgain(t *testing.T) {
	t.Helper()
	run(t, cluster.pintle, "up")
}
