package runtimedriver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/test/process"
)

// processes are the ids of those that run a program.
func processes(program string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err == nil && exe == program {
			pids = append(pids, pid)
		}
	}
	return pids
}

// use does with a pod what people do.
func (c *cluster) use(pod string) {
	c.t.Helper()
	c.says("hollow: serve here", "logs", pod)
	c.says("some words", "exec", pod, "--", "some", "words")
	cmd := exec.CommandContext(c.t.Context(), process.Pintle(), "kubectl", "--kubeconfig", c.Kubeconfig(), "exec", "-i", pod, "--", "cat")
	cmd.Stdin = strings.NewReader("typed\n")
	if out, err := cmd.Output(); err != nil || string(out) != "typed\n" {
		c.t.Errorf("exec -i: %q, %v", out, err)
	}
	if _, err := c.kubectl("exec", pod, "--", "exit", "3"); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		c.t.Errorf("exec of what ends with 3: %v", err)
	}
}

// remove deletes a pod, and waits until it is gone.
func (c *cluster) remove(pod string) {
	c.t.Helper()
	if _, err := c.kubectl("delete", "pod", pod, "--wait=false"); err != nil {
		c.t.Fatal(err)
	}
	process.Eventually(c.t, time.Minute, "pod "+pod+" is gone", func() error {
		_, err := c.client.CoreV1().Pods(metav1.NamespaceDefault).Get(c.t.Context(), pod, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %w", err)
	})
}

// The example runs a node's pods from a confined process, whose end by kill -9 they outlive.
func TestPodsOutliveTheirDriver(t *testing.T) {
	c := start(t)
	dir := c.build("0.1.0")
	program := filepath.Join(dir, "simdriver")
	a := c.join("node-a", "simdriver", func(a *agent) string {
		return fmt.Sprintf("plugins: [{name: simdriver, nodeScoped: true, path: %q, sha256: %s, files: [{path: %q, readOnly: false}]}]\n",
			program, sum(t, program), a.logs())
	})
	n := c.node("node-a", corev1.ConditionTrue, "")
	if v := n.Status.NodeInfo.ContainerRuntimeVersion; v != "simdriver://0.1.0" {
		t.Errorf("container runtime %q", v)
	}
	before := c.pod("p", "node-a")
	if id := before.Status.ContainerStatuses[0].ContainerID; !strings.HasPrefix(id, "simdriver://") {
		t.Errorf("container id %q", id)
	}
	if ip := before.Status.PodIP; ip != "127.0.0.1" {
		t.Errorf("without a network of its own the pod has address %q, want the node's", ip)
	}
	c.use("p")

	pids := processes(program)
	if len(pids) != 1 {
		t.Fatalf("processes of the driver: %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, 30*time.Second, "another process of the driver", func() error {
		if now := processes(program); len(now) != 1 || now[0] == pids[0] {
			return fmt.Errorf("%v", now)
		}
		return nil
	})
	c.use("p")
	c.same(before)

	// The agent's end is the driver's, too.
	c.end(a, syscall.SIGKILL)
	process.Eventually(t, 30*time.Second, "no process of the driver", func() error {
		if left := processes(program); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
	c.run(a)
	c.says("some words", "exec", "p", "--", "some", "words")
	c.same(before)
	c.remove("p")
	c.pod("q", "node-a") // is removed by `pintle down`
}

// A driver that comes with an object is upgraded beside what it runs, and missed when it is removed.
func TestDriverByObject(t *testing.T) {
	c := start(t)
	old, next := c.build("0.1.0"), c.build("0.2.0")
	a := c.join("node-a", "simdriver", func(*agent) string { return "plugins: []\n" })
	c.node("node-a", corev1.ConditionFalse, "container runtime is down: runtime driver simdriver")
	apply := func(dir string) {
		t.Helper()
		c.apply("apiVersion: core.pintle.dev/v1\nkind: Plugin\nmetadata: {name: simdriver}\nspec:\n  nodeScoped: true\n  allowUnsigned: true\n"+
			"  source: {directory: %s}\n  files: [{path: %s, readOnly: false}]\n", dir, a.logs())
	}
	apply(old)
	c.node("node-a", corev1.ConditionTrue, "")
	before := c.pod("p", "node-a")
	c.use("p")

	// Who talks to pods meanwhile does not notice.
	ctx, cancel := context.WithCancel(t.Context())
	talked := make(chan error, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if out, err := c.kubectl("exec", "p", "--", "word"); err != nil || out != "word\n" {
				talked <- fmt.Errorf("exec %d during the upgrade: %q, %w", n, out, err)
				return
			}
		}
		if n < 3 {
			talked <- errors.New("there was no time to talk")
			return
		}
		talked <- nil
	}()
	apply(next)
	c.says("0.2.0 Healthy", "get", "plugins.core.pintle.dev", "simdriver.node-a", "-o", "jsonpath={.status.version} {.status.health}")
	cancel()
	if err := <-talked; err != nil {
		t.Error(err)
	}
	c.same(before)

	if _, err := c.kubectl("delete", "plugin.core.pintle.dev", "simdriver"); err != nil {
		t.Fatal(err)
	}
	c.node("node-a", corev1.ConditionFalse, "container runtime is down: runtime driver simdriver")
	if p, err := c.client.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), "p", metav1.GetOptions{}); err != nil || p.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod of a node without its driver: %+v, %v", p, err)
	}
	apply(next) // what the one before had kept went with it
	c.node("node-a", corev1.ConditionTrue, "")
	c.ready("p")
	c.says("some words", "exec", "p", "--", "some", "words")
	c.remove("p")
}

// Pintle's own hollow driver needs no entry among the plugins.
func TestOwnHollowDriver(t *testing.T) {
	c := start(t)
	c.join("node-a", "sim", func(*agent) string { return "plugins: []\n" })
	n := c.node("node-a", corev1.ConditionTrue, "")
	if v := n.Status.NodeInfo.ContainerRuntimeVersion; v != "sim://1" {
		t.Errorf("container runtime %q", v)
	}
	c.pod("p", "node-a")
	c.remove("p")
}
