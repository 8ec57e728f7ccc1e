package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

const root = "../.."

// program is one of the examples as a stranger would build it.
type program struct{ path, sum string }

var cloudLocal, loadAverages program

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pintle-providers")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Chmod(dir, 0o755) //nolint:gosec // plugins run as users of their own
	}
	if err == nil {
		cloudLocal, err = build(dir, "cloud-local")
	}
	if err == nil {
		loadAverages, err = build(dir, "metrics-like")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return process.Main(m, root)
}

func build(dir, example string) (program, error) {
	p := program{path: filepath.Join(dir, example)}
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", p.path, ".")
	cmd.Dir = filepath.Join(root, "sdk", "examples", example)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build example %s: %w\n%s", example, err, out)
	}
	b, err := os.ReadFile(p.path)
	if err != nil {
		return p, err
	}
	sum := sha256.Sum256(b)
	p.sum = hex.EncodeToString(sum[:])
	return p, nil
}

var plugins = schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}

// kill kills a plugin's process.
func kill(t *testing.T, dyn dynamic.Interface, name string) {
	t.Helper()
	var pid int64
	process.Eventually(t, time.Minute, name+" runs", func() error {
		o, err := dyn.Resource(plugins).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pid, _, err = unstructured.NestedInt64(o.Object, "status", "pid")
		if health, _, _ := unstructured.NestedString(o.Object, "status", "health"); err != nil || pid == 0 || health != "Healthy" {
			return errors.Join(err, fmt.Errorf("status %v", o.Object["status"]))
		}
		return nil
	})
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func clients(t *testing.T, s *process.Server) (kubernetes.Interface, dynamic.Interface) {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	return client, dyn
}

// From a node that waits for its cloud to a request that comes through a load balancer, and to
// the end of both.
func TestCloud(t *testing.T) {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer pod.Close()
	_, port, err := net.SplitHostPort(process.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	outside, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	s := process.Start(t, process.Pintle(), fmt.Sprintf(`plugins:
  - name: cloud-local
    path: %s
    sha256: %s
    network: true
    settings: {instances: instances.yaml}
  - name: cloud
    settings: {nodeMonitorPeriodSeconds: 1}
`, cloudLocal.path, cloudLocal.sum))
	client, dyn := clients(t, s)
	ctx := t.Context()
	machines := func(text string) {
		t.Helper()
		file := filepath.Join(s.Data(), "hosts", "server", "plugins", "cloud-local", "instances.yaml")
		process.Eventually(t, time.Minute, "the plugin has a directory", func() error { return os.WriteFile(file, []byte(text), 0o644) }) //nolint:gosec // for the plugin's user
	}
	machines("[{name: node-1, id: m1, type: small, zone: attic, region: home, addresses: [127.0.0.1]}]")

	nodes := client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"},
		Spec: v1.NodeSpec{Taints: []v1.Taint{
			{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: v1.TaintEffectNoSchedule},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	say := func(ready v1.ConditionStatus) {
		t.Helper()
		process.Eventually(t, time.Minute, "the node's status", func() error {
			if node, err = nodes.Get(ctx, "node-1", metav1.GetOptions{}); err != nil {
				return err
			}
			node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: ready, LastTransitionTime: metav1.Now()}}
			_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
			return err
		})
	}
	say(v1.ConditionTrue)
	process.Eventually(t, time.Minute, "the node is initialized", func() error {
		if node, err = nodes.Get(ctx, "node-1", metav1.GetOptions{}); err != nil {
			return err
		}
		waits := slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return strings.HasPrefix(t.Key, "node.cloudprovider") })
		if waits || node.Spec.ProviderID != "local://m1" || node.Labels[v1.LabelTopologyZone] != "attic" || len(node.Status.Addresses) != 2 {
			return fmt.Errorf("%+v %v %v", node.Spec, node.Labels, node.Status.Addresses)
		}
		return nil
	})

	_, nodePort, err := net.SplitHostPort(pod.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	services := client.CoreV1().Services("default")
	web, err := services.Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: int32(outside)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// No service proxy runs: what listens on the node port stands in for it and the pod.
	stand := forward(t, "127.0.0.1:"+strconv.Itoa(int(web.Spec.Ports[0].NodePort)), "127.0.0.1:"+nodePort)
	defer stand()
	ask := func() error {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := c.Get("http://127.0.0.1:" + port)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if string(body) != "hello" {
			return fmt.Errorf("%q, %w", body, err)
		}
		return nil
	}
	process.Eventually(t, time.Minute, "traffic through the load balancer", ask)
	if web, err = services.Get(ctx, "web", metav1.GetOptions{}); err != nil || len(web.Status.LoadBalancer.Ingress) != 1 || web.Status.LoadBalancer.Ingress[0].IP != "127.0.0.1" ||
		!slices.Contains(web.Finalizers, "service.kubernetes.io/load-balancer-cleanup") {
		t.Errorf("service %+v, %v", web, err)
	}

	kill(t, dyn, "cloud-local")
	process.Eventually(t, time.Minute, "traffic when the provider is back", ask)

	if err := services.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, time.Minute, "the service's end", func() error {
		_, err := services.Get(ctx, "web", metav1.GetOptions{})
		return wantNotFound(err)
	})
	if err := ask(); err == nil {
		t.Error("the load balancer outlived its service")
	}

	machines("[]")
	say(v1.ConditionFalse)
	process.Eventually(t, time.Minute, "the node's end", func() error {
		_, err := nodes.Get(ctx, "node-1", metav1.GetOptions{})
		return wantNotFound(err)
	})
}

func wantNotFound(err error) error {
	if err == nil {
		return errors.New("it is still there")
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// forward passes connections on until it is called off.
func forward(t *testing.T, from, to string) func() {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			pass := func(a, b net.Conn) { _, _ = io.Copy(a, b); _ = a.Close() }
			go pass(in, out)
			go pass(out, in)
		}
	}()
	return func() { _ = l.Close() }
}

// Clients find the plugin's API as they find any, are told to wait while it is away, and are not
// disturbed elsewhere.
func TestAPIService(t *testing.T) {
	s := process.Start(t, process.Pintle(), fmt.Sprintf(`plugins:
  - name: loadavg
    path: %s
    sha256: %s
    settings: {seconds: 1}
`, loadAverages.path, loadAverages.sum))
	client, dyn := clients(t, s)
	ctx := t.Context()
	loads := dyn.Resource(schema.GroupVersionResource{Group: "load.example.dev", Version: "v1", Resource: "loadaverages"})
	list := func() error {
		l, err := loads.List(ctx, metav1.ListOptions{})
		if err == nil && len(l.Items) != 1 {
			return fmt.Errorf("%d load averages", len(l.Items))
		}
		return err
	}
	process.Eventually(t, time.Minute, "load averages", list)
	d, err := discovery.NewDiscoveryClientForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := d.ServerResourcesForGroupVersion("load.example.dev/v1"); err != nil || len(r.APIResources) != 1 || r.APIResources[0].Kind != "LoadAverage" {
		t.Errorf("discovery: %+v, %v", r, err)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := process.Run(ctx, nil, process.Pintle(), append([]string{"kubectl", "--kubeconfig", s.Kubeconfig()}, args...)...)
		if err != nil {
			t.Errorf("kubectl %v: %v", args, err)
		}
		return out
	}
	for want, args := range map[string][]string{
		"15M":                                {"get", "load"},
		"Load average over the last minute.": {"explain", "loadaverages.one"},
		"kind: LoadAverage":                  {"get", "load", "-o", "yaml"},
		"v1.load.example.dev":                {"get", "apiservices"},
		"loadaverages":                       {"api-resources", "--api-group", "load.example.dev"},
		"Available":                          {"get", "apiservice", "v1.load.example.dev", "-o", "yaml"},
	} {
		if out := kubectl(args...); !strings.Contains(out, want) {
			t.Errorf("kubectl %v has no %q:\n%s", args, want, out)
		}
	}
	w, err := loads.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ADDED" {
		t.Errorf("watch: %v", e)
	}
	kill(t, dyn, "loadavg")
	for range w.ResultChan() { // what came before the end
	}
	if _, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("other groups: %v", err)
	}
	process.Eventually(t, time.Minute, "load averages again", list)
}
