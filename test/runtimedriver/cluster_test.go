package runtimedriver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }

// cluster is a server with the controllers of pods.
type cluster struct {
	*process.Server
	t      *testing.T
	client kubernetes.Interface
}

func start(t *testing.T) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("agents mount the volumes of pods: they need root")
	}
	c := &cluster{Server: process.Start(t, process.Pintle(), "plugins: [{name: scheduler}, {name: workloads}]\n"), t: t}
	var err error
	if c.client, err = kubernetes.NewForConfig(c.ClientConfig()); err != nil {
		t.Fatal(err)
	}
	return c
}

// build builds the example from its own module, in a version, with its manifest beside it.
func (c *cluster) build(version string) (dir string) {
	c.t.Helper()
	module, err := filepath.Abs("../../sdk/examples/simdriver")
	if err != nil {
		c.t.Fatal(err)
	}
	dir = filepath.Join(c.Dir, "simdriver-"+version)
	manifest, err := os.ReadFile(filepath.Join(module, "plugin.yaml"))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		manifest = bytes.Replace(manifest, []byte("version: 0.1.0"), []byte("version: "+version), 1)
		err = os.WriteFile(filepath.Join(dir, "plugin.yaml"), manifest, 0o644)
	}
	overlay := filepath.Join(c.Dir, "overlay.json")
	if err == nil {
		var text []byte
		text, err = json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(module, "plugin.yaml"): filepath.Join(dir, "plugin.yaml")}})
		err = errors.Join(err, os.WriteFile(overlay, text, 0o600))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	build := exec.CommandContext(c.t.Context(), "go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "simdriver"), ".")
	build.Dir = module
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func sum(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// agent is the agent of a node, in a process of its own with a data directory of its own.
type agent struct {
	name, dir string
	cmd       *exec.Cmd
	ended     chan struct{}
	mu        sync.Mutex
	log       bytes.Buffer
}

// Write implements io.Writer.
func (a *agent) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(p)
}

func (a *agent) data() string { return filepath.Join(a.dir, "data") }

// logs is where the logs of the node's containers are.
func (a *agent) logs() string { return filepath.Join(a.data(), "node", "logs") }

// join starts the agent of a node, with more configuration that may say where its logs are. It ends
// with the test, and with it all that it has made.
func (c *cluster) join(node, driver string, more func(*agent) string) *agent {
	c.t.Helper()
	dir, err := os.MkdirTemp("", "pintle-r") // t.TempDir's paths are long for sockets
	if err != nil {
		c.t.Fatal(err)
	}
	a := &agent{name: node, dir: dir}
	config := filepath.Join(dir, "c.yaml")
	err = os.CopyFS(filepath.Join(a.data(), "pki"), os.DirFS(filepath.Join(c.Data(), "pki")))
	if err == nil {
		err = os.WriteFile(config, fmt.Appendf(nil, "api: {listen: %q}\nnode: {enabled: true, name: %s, ip: 127.0.0.1, listen: %q, driver: %s}\n%s",
			c.Address, node, process.FreeAddress(c.t), driver, more(a)), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.run(a)
	c.t.Cleanup(func() {
		c.end(a, syscall.SIGTERM)
		if c.t.Failed() {
			a.mu.Lock()
			c.t.Logf("the log of %s:\n%s", node, a.log.String())
			a.mu.Unlock()
		}
		if _, err := process.Run(context.Background(), nil, process.Pintle(), "down", "--purge", "--data-dir", a.data(), "--config", config); err != nil {
			c.t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			c.t.Error(err)
		}
	})
	return a
}

// run starts an agent's process.
func (c *cluster) run(a *agent) {
	c.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), process.Pintle(), "agent", "--data-dir", a.data(), "--config", filepath.Join(a.dir, "c.yaml"))
	cmd.Stdout, cmd.Stderr = a, a
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	a.cmd, a.ended = cmd, ended
	go func() { _ = cmd.Wait(); close(ended) }()
}

// end ends it by a signal.
func (c *cluster) end(a *agent, sig syscall.Signal) {
	c.t.Helper()
	if err := a.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Error(err)
	}
	select {
	case <-a.ended:
	case <-time.After(30 * time.Second):
		_ = a.cmd.Process.Kill()
		c.t.Errorf("the agent of %s did not end within 30 seconds", a.name)
	}
}

// node waits until a node's readiness is as wanted, with a message that contains some words.
func (c *cluster) node(name string, want corev1.ConditionStatus, words string) *corev1.Node {
	c.t.Helper()
	var n *corev1.Node
	process.Eventually(c.t, time.Minute, name+"'s readiness is "+string(want), func() (err error) {
		if n, err = c.client.CoreV1().Nodes().Get(c.t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == want && strings.Contains(cond.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("%+v", n.Status.Conditions)
	})
	return n
}

// kubectl runs kubectl as the administrator.
func (c *cluster) kubectl(args ...string) (string, error) {
	c.t.Helper()
	return process.Run(c.t.Context(), nil, process.Pintle(), append([]string{"kubectl", "--kubeconfig", c.Kubeconfig()}, args...)...)
}

// apply applies an object.
func (c *cluster) apply(format string, args ...any) {
	c.t.Helper()
	file := filepath.Join(c.Dir, "apply.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.kubectl("apply", "-f", file); err != nil {
		c.t.Fatal(err)
	}
}

// says runs kubectl until its output is as wanted.
func (c *cluster) says(want string, args ...string) {
	c.t.Helper()
	process.Eventually(c.t, 30*time.Second, "kubectl "+strings.Join(args, " "), func() error {
		out, err := c.kubectl(args...)
		if err == nil && strings.TrimSpace(out) != want {
			err = fmt.Errorf("it says %q, want %q", out, want)
		}
		return err
	})
}

const podText = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers: [{name: main, image: any, command: [serve, here], stdin: true}]
`

// pod makes a pod on a node, and waits until it is ready.
func (c *cluster) pod(name, node string) *corev1.Pod {
	c.t.Helper()
	process.Eventually(c.t, 30*time.Second, "the default service account", func() error {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(c.t.Context(), "default", metav1.GetOptions{})
		return err
	})
	c.apply(podText, name, node)
	return c.ready(name)
}

// ready waits until a pod is ready.
func (c *cluster) ready(name string) *corev1.Pod {
	c.t.Helper()
	var p *corev1.Pod
	process.Eventually(c.t, time.Minute, "pod "+name+" is ready", func() (err error) {
		if p, err = c.client.CoreV1().Pods(metav1.NamespaceDefault).Get(c.t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%+v", p.Status)
	})
	return p
}

// same fails where a pod's container is not the one that it was.
func (c *cluster) same(before *corev1.Pod) {
	c.t.Helper()
	after := c.ready(before.Name)
	b, a := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]
	if a.ContainerID != b.ContainerID || a.RestartCount != b.RestartCount {
		c.t.Errorf("pod %s had container %s (restarts %d) and has %s (%d)", before.Name, b.ContainerID, b.RestartCount, a.ContainerID, a.RestartCount)
	}
}
