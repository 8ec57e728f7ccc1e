package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

const machines = `
- {name: node-1, id: m1, type: small, zone: attic, region: home, addresses: [127.0.0.1]}
- {name: node-2, id: m2, type: small, zone: cellar, region: home, addresses: [127.0.0.2], shutdown: true}
`

// settingsFor returns settings for a file with the machines.
func settingsFor(t testing.TB) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "instances.yaml")
	if err := os.WriteFile(file, []byte(machines), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"instances":%q}`, file)
}

// freePort is one that nobody listens on.
func freePort(t testing.TB) int32 {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int32(l.Addr().(*net.TCPAddr).Port)
}

func service(port, nodePort int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-1"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: port, NodePort: nodePort}}},
	}
}

func node(name, address string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
	}
}

func TestContract(t *testing.T) {
	plugintest.RunCloud(t, plugintest.CloudCase{
		Case: plugintest.Case{Settings: settingsFor(t), BadSettings: map[string]string{
			`{"instances":"/x","address":"home"}`: "settings.address", `{}`: "settings.instances", `{"instances":"../x"}`: "settings.instances",
		}},
		New:     func() cloud.Cloud { return &localCloud{} },
		Node:    node("node-1", "127.0.0.1"),
		Service: service(freePort(t), 30080),
		Nodes:   []*corev1.Node{node("node-1", "127.0.0.1"), node("node-2", "127.0.0.2")},
	})
}

// open opens a cloud with a directory of its own, as a process does.
func open(t *testing.T, settings []byte, dir string) (services cloud.Services, end func()) {
	t.Helper()
	l := &localCloud{}
	if err := l.Configure(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	services, err := l.Open(ctx, plugin.Env{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b, ok := services.LoadBalancers.(*balancers)
	if !ok {
		t.Fatal("other load balancers")
	}
	return services, func() { cancel(); b.close() }
}

// Real requests go through, also after the plugin was started again.
func TestTraffic(t *testing.T) {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer pod.Close()
	_, text, err := net.SplitHostPort(pod.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nodePort, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	svc := service(freePort(t), int32(nodePort))
	settings, dir := settingsFor(t), t.TempDir()
	ask := func() (string, error) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", svc.Spec.Ports[0].Port))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	s, end := open(t, settings, dir)
	st, err := s.LoadBalancers.EnsureLoadBalancer(t.Context(), "c", svc, []*corev1.Node{node("gone", "127.0.0.3"), node("node-1", "127.0.0.1")})
	if err != nil || st.Ingress[0].IP != "127.0.0.1" {
		t.Fatal(st, err)
	}
	for range 4 { // a node that does not answer costs no request
		if got, err := ask(); got != "hello" {
			t.Fatal(got, err)
		}
	}
	end()
	if got, err := ask(); err == nil {
		t.Fatalf("%q of a cloud that has ended", got)
	}
	s, end = open(t, settings, dir)
	defer end()
	if got, err := ask(); got != "hello" {
		t.Fatalf("after a restart: %q, %v", got, err)
	}
	if err := s.LoadBalancers.DeleteLoadBalancer(t.Context(), "c", svc); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(); err == nil {
		t.Fatalf("%q of a load balancer that was deleted", got)
	}
}
