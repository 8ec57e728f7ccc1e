package nodeplugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/images"
	"github.com/pintle-dev/pintle/test/process"
)

// TestMain lets the test binary play the guests, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "guest" {
		playGuest(os.Args[2])
		return
	}
	os.Exit(process.Main(m, "../.."))
}

func after() <-chan time.Time { return time.After(50 * time.Millisecond) }

var plugins = schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}

const busybox = "/bin/busybox"

// cluster is a server, and a registry with plugins and images.
type cluster struct {
	*process.Server
	client   kubernetes.Interface
	dynamic  dynamic.Interface
	registry string // host:port
	trust    string // pluginTrust of the configuration
	key      string
}

// start starts a server with more configuration; %D in it is a directory for plugins.
func start(t *testing.T, more string) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("agents need root")
	}
	for _, p := range []string{"containerd", "runc", busybox} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip("agents need containerd, and pods a busybox: ", err)
		}
	}
	c := &cluster{Server: process.New(t, process.Pintle(), "")}
	r := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(r.Close)
	c.registry = strings.TrimPrefix(r.URL, "http://")
	c.key = filepath.Join(c.Dir, "acme")
	c.pintle(t, "plugin", "keygen", "-o", c.key)
	c.trust = fmt.Sprintf("pluginTrust: {keys: [{name: acme, file: %q}]}\n", c.key+".pub")
	c.Configure(c.trust + strings.ReplaceAll(more, "%D", c.Dir))
	c.Start()
	var err error
	config := c.ClientConfig()
	if c.client, err = kubernetes.NewForConfig(config); err == nil {
		c.dynamic, err = dynamic.NewForConfig(config)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pintle runs a command that must succeed, on the server's data directory where it takes one.
func (c *cluster) pintle(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	env := []string{"PINTLE_DATA_DIR=" + c.Data(), "KUBECONFIG="}
	return process.Run(t.Context(), env, process.Pintle(), args...)
}

// bundle writes a guest of a kind and version into a directory, as its author has it.
func bundle(t *testing.T, dir, kind, version, point string) string {
	t.Helper()
	dir = filepath.Join(dir, kind+"-"+version)
	manifest := fmt.Sprintf(`apiVersion: core.pintle.dev/v1
kind: PluginManifest
name: %s
version: %s
description: Stands on nodes.
protocol: 1
binary: guest
points: [%s]
permissions:
- {apiGroups: [""], resources: [configmaps], verbs: [get, create, update]}
`, kind, version, point)
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(manifest), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "guest"), append(self, mark+version...), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// push signs a guest and pushes it to the registry.
func (c *cluster) push(t *testing.T, kind, version, point string) (ref string) {
	t.Helper()
	dir := bundle(t, c.Dir, kind, version, point)
	ref = c.registry + "/plugins/" + kind
	c.pintle(t, "plugin", "sign", dir, "--key", c.key+".key")
	c.pintle(t, "plugin", "push", dir, ref)
	return ref + ":" + version
}

// image pushes an image with a shell for pods, and returns its reference.
func (c *cluster) image(t *testing.T) string {
	t.Helper()
	img, err := images.Build(images.Spec{Busybox: busybox, Entrypoint: []string{"/bin/sh"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(c.registry+"/sh:v1", name.Insecure)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

// agent is the agent of a node, in a process of its own with a data directory of its own.
type agent struct {
	t     *testing.T
	name  string
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	log   bytes.Buffer
}

// Write implements io.Writer.
func (a *agent) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(p)
}

// join makes an agent of a node, and starts it. It ends with the test, with all that it has made.
func (c *cluster) join(t *testing.T, node, more string) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle-n") // t.TempDir's paths are long for sockets
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, name: node, dir: dir, ended: make(chan struct{})}
	close(a.ended)
	err = os.CopyFS(filepath.Join(a.data(), "pki"), os.DirFS(filepath.Join(c.Data(), "pki")))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "c.yaml"), fmt.Appendf(nil, "api: {listen: %q}\nnode: {enabled: true, name: %s, ip: 127.0.0.1, listen: %q}\n%s%s",
			c.Address, node, process.FreeAddress(t), c.trust, strings.ReplaceAll(more, "%D", c.Dir)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.end(syscall.SIGTERM)
		if t.Failed() {
			a.mu.Lock()
			t.Logf("the log of %s:\n%s", node, a.log.String())
			a.mu.Unlock()
		}
		if out, err := process.Run(context.Background(), nil, process.Pintle(), "down", "--purge", "--data-dir", a.data(), "--config", filepath.Join(dir, "c.yaml")); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	a.start()
	return a
}

func (a *agent) data() string { return filepath.Join(a.dir, "data") }

func (a *agent) start() {
	a.t.Helper()
	a.cmd = exec.CommandContext(context.WithoutCancel(a.t.Context()), process.Pintle(), "agent", "--data-dir", a.data(), "--config", filepath.Join(a.dir, "c.yaml"))
	a.cmd.Stdout, a.cmd.Stderr = a, a
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(a.cmd, a.ended)
}

func (a *agent) end(sig syscall.Signal) {
	a.t.Helper()
	select {
	case <-a.ended:
		return
	default:
	}
	if err := a.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		a.t.Error(err)
	}
	select {
	case <-a.ended:
	case <-time.After(30 * time.Second):
		_ = a.cmd.Process.Kill()
		a.t.Errorf("the agent of %s did not end within 30 seconds of signal %v", a.name, sig)
	}
}

// plugin is an object of a plugin, and one of its status.
func (c *cluster) plugin(ctx context.Context, name string) (object *unstructured.Unstructured, health, version string, err error) {
	u, err := c.dynamic.Resource(plugins).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, "", "", err
	}
	health, _, _ = unstructured.NestedString(u.Object, "status", "health")
	version, _, _ = unstructured.NestedString(u.Object, "status", "version")
	return u, health, version, nil
}

// runs waits until a plugin's objects say that it runs, in a version.
func (c *cluster) runs(t *testing.T, version string, names ...string) {
	t.Helper()
	for _, n := range names {
		process.Eventually(t, time.Minute, n+" runs in version "+version, func() error {
			u, health, v, err := c.plugin(t.Context(), n)
			if err == nil && (health != "Healthy" || v != version) {
				reason, _, _ := unstructured.NestedString(u.Object, "status", "reason")
				err = fmt.Errorf("version %s is %s: %s", v, health, reason)
			}
			return err
		})
	}
}

// report waits until the sentry on a node has said something of a version.
func (c *cluster) report(t *testing.T, node, version string) map[string]string {
	t.Helper()
	var out *corev1.ConfigMap
	process.Eventually(t, time.Minute, "the sentry on "+node+" reports "+version, func() (err error) {
		out, err = c.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(t.Context(), "sentry-"+node, metav1.GetOptions{})
		if err == nil && out.Data["version"] != version {
			err = fmt.Errorf("it reports %v", out.Data)
		}
		return err
	})
	return out.Data
}

// ready waits until a node is.
func (c *cluster) ready(t *testing.T, node string) {
	t.Helper()
	process.Eventually(t, time.Minute, node+" is ready", func() error {
		n, err := c.client.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%+v", n.Status.Conditions)
	})
}

// running lists the processes with an argument.
func running(argument string) (pids []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.Contains(string(b), argument) {
			continue
		}
		if stat, err := os.ReadFile("/proc/" + e.Name() + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			pids = append(pids, e.Name())
		}
	}
	return pids
}
