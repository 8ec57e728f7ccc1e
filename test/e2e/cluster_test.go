package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/images"
)

// cluster is the one all tests share; those that kill things leave it as they found it.
var cluster struct {
	pintle, dir, config string
	kubectls            map[string][]string // name → command
	rest                *rest.Config
	client              kubernetes.Interface
	registry            string // host:port
}

const configuration = `
api:
  listen: 0.0.0.0:16443
  serviceCIDR: 10.97.0.0/16
node:
  enabled: true
  name: e2e-node
  listen: ":20250"
plugins:
  - name: scheduler
  - name: workloads
  - name: network
    settings:
      clusterCIDR: 10.245.0.0/16
      bridge: pintle-e2e0
  - name: serviceproxy
    settings:
      tableName: pintle-e2e-services
  - name: widget
    path: %s
    sha256: "%s"
    grant: true
`

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	if os.Getuid() != 0 {
		return 0, errors.New("these tests run containers: they need root")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	cluster.pintle = filepath.Join(root, "bin", "pintle")
	if _, err := os.Stat(cluster.pintle); err != nil {
		return 0, fmt.Errorf("%w: `make build images` makes it", err)
	}
	if cluster.dir, err = os.MkdirTemp("", "pintle-e2e"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cluster.dir)) }()
	binary, sum, err := buildWidget(root, cluster.dir)
	if err != nil {
		return 0, err
	}
	cluster.config = filepath.Join(cluster.dir, "e2e.yaml")
	if err := os.WriteFile(cluster.config, fmt.Appendf(nil, configuration, binary, sum), 0o600); err != nil {
		return 0, err
	}
	stopRegistry, err := startRegistry()
	if err != nil {
		return 0, err
	}
	defer stopRegistry()

	before := hostState()
	if out, err := pintle("up", "--config", cluster.config); err != nil {
		return 0, fmt.Errorf("up: %w\n%s", err, out)
	}
	defer func() {
		if code != 0 && os.Getenv("PINTLE_E2E_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "kept:", cluster.dir)
			return
		}
		if out, derr := pintle("down"); derr != nil {
			err = errors.Join(err, fmt.Errorf("down: %w\n%s", derr, out))
		} else if left := leftBehind(before, hostState()); len(left) > 0 {
			err = errors.Join(err, fmt.Errorf("down left behind:\n%s", strings.Join(left, "\n")))
		}
	}()
	if cluster.rest, err = clientcmd.BuildConfigFromFlags("", kubeconfig()); err != nil {
		return 0, err
	}
	cluster.rest.QPS, cluster.rest.Burst = 1000, 2000 // the client should not be what is slow
	if cluster.client, err = kubernetes.NewForConfig(cluster.rest); err != nil {
		return 0, err
	}
	cluster.kubectls = map[string][]string{"pintle kubectl": {cluster.pintle, "kubectl"}}
	if stock, err := exec.LookPath("kubectl"); err == nil {
		cluster.kubectls["kubectl"] = []string{stock}
	} else {
		fmt.Fprintln(os.Stderr, "e2e: no kubectl in PATH: only the embedded one is tested")
	}
	for _, v := range []string{"v1", "v2"} {
		if out, err := pintle("image", "import", filepath.Join(root, "bin", "hello-"+v+".tar")); err != nil {
			return 0, fmt.Errorf("image import: %w\n%s", err, out)
		}
	}
	return m.Run(), nil
}

func kubeconfig() string { return filepath.Join(cluster.dir, "data", "admin.kubeconfig") }

// hostState is what a cluster might leave behind on the machine.
func hostState() string {
	var out strings.Builder
	for _, c := range [][]string{
		{"ip", "-o", "link", "show"}, {"ip", "netns", "list"}, {"nft", "list", "ruleset"}, {"ip", "route"},
		{"sh", "-c", "cut -d' ' -f2,3 /proc/mounts | sort"},
	} {
		b, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		fmt.Fprintf(&out, "$ %s\n%s", strings.Join(c, " "), b)
		if err != nil {
			fmt.Fprintln(&out, err)
		}
	}
	out.WriteString(processes())
	return out.String()
}

// processes lists the command lines of this machine's processes.
func processes() string {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && len(b) > 0 { // else it has ended meanwhile
			lines = append(lines, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// leftBehind are the lines of the later state that were not there before and are the
// cluster's: other things may run on the machine at the same time.
func leftBehind(before, after string) []string {
	had := map[string]bool{}
	for l := range strings.Lines(before) {
		had[l] = true
	}
	var left []string
	for l := range strings.Lines(after) {
		for _, mark := range []string{cluster.dir, "pintle-e2e", "10.245.", "10.97.", "veth", "e2e-node"} {
			// A veth on a bridge of another cluster is another cluster's.
			ours := mark != "veth" || !strings.Contains(l, " master ")
			if !had[l] && ours && strings.Contains(l, mark) {
				left = append(left, l)
				break
			}
		}
	}
	return left
}

// pintle runs the command on the shared cluster's data directory.
func pintle(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cluster.pintle, args...)
	cmd.Env = append(os.Environ(), "PINTLE_DATA_DIR="+filepath.Join(cluster.dir, "data"), "KUBECONFIG=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// startRegistry serves a real registry on loopback with one image in it.
func startRegistry() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: registry.New(registry.Logger(discard())), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	cluster.registry = l.Addr().String()
	img, err := images.Build(images.Spec{Busybox: "/bin/busybox", Entrypoint: []string{"/bin/sh", "-c", "echo from the registry; exec sleep 3600"}})
	if err != nil {
		return nil, err
	}
	ref, err := name.ParseReference(cluster.registry+"/sleeper:v1", name.Insecure)
	if err != nil {
		return nil, err
	}
	if err := remote.Write(ref, img); err != nil {
		return nil, fmt.Errorf("pushing to the registry: %w", err)
	}
	return func() { _ = srv.Close() }, nil
}

// run is a command that must succeed; it returns what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, "", args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig(), "PINTLE_DATA_DIR="+filepath.Join(cluster.dir, "data"))
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kubectl runs the embedded kubectl and must succeed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, append([]string{cluster.pintle, "kubectl"}, args...)...)
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if out, err := try(t, manifest, cluster.pintle, "kubectl", "apply", "-f", "-"); err != nil {
		t.Fatalf("apply: %v\n%s\n%s", err, out, manifest)
	}
}

// eventually waits until f returns nil.
func eventually(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		case <-tick.C:
		}
	}
}

// namespace makes one for a test and removes it after.
func namespace(t *testing.T) string {
	t.Helper()
	ns := "e2e-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name()))
	if len(ns) > 60 {
		ns = ns[:60]
	}
	ns = strings.Trim(ns, "-")
	kubectl(t, "create", "namespace", ns)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, cluster.pintle, "kubectl", "--kubeconfig", kubeconfig(), "delete", "namespace", ns, "--timeout=50s")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("deleting namespace %s: %v\n%s", ns, err, out)
		}
	})
	return ns
}
