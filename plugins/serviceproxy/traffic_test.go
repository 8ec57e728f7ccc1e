package serviceproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/pintle-dev/pintle/plugins/internal/netnstest"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// TestMain runs the tests where they may change the network.
func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

func sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// peer is a network namespace with one address, and a web server that says its name.
type peer struct{ name, ns, ip string }

func newPeer(t *testing.T, name, ip, via string, attach ...string) peer {
	t.Helper()
	p := peer{name: name, ns: fmt.Sprintf("pintle-svc-%d-%s", os.Getpid(), name), ip: ip}
	sh(t, "ip", "netns", "add", p.ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", p.ns).Run() })
	sh(t, "ip", "link", "add", "v-"+name, "type", "veth", "peer", "name", "eth0", "netns", p.ns)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "v-"+name).Run() })
	sh(t, attach...)
	sh(t, "ip", "link", "set", "v-"+name, "up")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"}, {"addr", "add", ip + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}, {"route", "add", "default", "via", via},
	} {
		sh(t, append([]string{"ip", "-n", p.ns}, args...)...)
	}
	return p
}

func (p peer) serve(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(p.name), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", p.ns, "busybox", "httpd", "-f", "-p", "8080", "-h", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, func() error {
		_, err := get(net.JoinHostPort(p.ip, "8080"))
		return err
	})
}

// get is from the node itself, on a connection of its own.
func get(address string) (string, error) {
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (p peer) get(address string) (string, error) {
	type answer struct {
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		body, err := p.inside(address)
		got <- answer{body, err}
	}()
	a := <-got
	if a.err != nil {
		return a.body, fmt.Errorf("from %s: %w", p.name, a.err)
	}
	return a.body, nil
}

// inside is get on a thread of its own, which it moves into the namespace. The socket is
// made on it, as a transport's would not be.
func (p peer) inside(address string) (string, error) {
	ns, err := os.Open("/run/netns/" + p.ns)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return "", err
	}
	if !strings.Contains(address, ":") {
		address += ":80"
	}
	conn, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return body, err
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline, tick := time.NewTimer(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %v\n%s", err, sh(t, "nft", "list", "ruleset"))
		case <-tick.C:
		}
	}
}

func expect(t *testing.T, want string, got func(string) (string, error), address string) {
	t.Helper()
	eventually(t, func() error {
		s, err := got(address)
		if err == nil && !strings.Contains(want, s) {
			err = fmt.Errorf("%s answered %q, want one of %q", address, s, want)
		}
		return err
	})
}

func update(t *testing.T, client kubernetes.Interface, s *discoveryv1.EndpointSlice) {
	t.Helper()
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestServicesWork(t *testing.T) {
	for _, bridged := range []string{"1", "0"} {
		t.Run("bridge-nf-call-iptables="+bridged, func(t *testing.T) { servicesWork(t, bridged) })
	}
}

func servicesWork(t *testing.T, bridgeCall string) {
	if err := os.WriteFile(bridgeCalls[corev1.IPv4Protocol], []byte(bridgeCall), 0o644); err != nil {
		if bridgeCall == "1" {
			t.Skipf("no br_netfilter: %v", err)
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip", "link", "set", "lo", "up")
	sh(t, "ip", "link", "add", "br0", "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "br0").Run() })
	sh(t, "ip", "addr", "add", "10.1.0.1/24", "dev", "br0")
	sh(t, "ip", "link", "set", "br0", "up")
	one := newPeer(t, "one", "10.1.0.2", "10.1.0.1", "ip", "link", "set", "v-one", "master", "br0")
	sh(t, "bridge", "link", "set", "dev", "v-one", "hairpin", "on")
	two := newPeer(t, "two", "10.1.0.3", "10.1.0.1", "ip", "link", "set", "v-two", "master", "br0")
	sh(t, "bridge", "link", "set", "dev", "v-two", "hairpin", "on")
	far := newPeer(t, "far", "192.168.77.2", "192.168.77.1", "ip", "addr", "add", "192.168.77.1/24", "dev", "v-far")
	sh(t, "ip", "route", "add", "default", "via", "192.168.77.2")
	one.serve(t)
	two.serve(t)
	before := sh(t, "nft", "list", "ruleset")

	web := service("web", "10.96.0.10", func(s *corev1.ServiceSpec) {
		s.Type, s.Ports[0].NodePort, s.ExternalIPs = corev1.ServiceTypeNodePort, 30080, []string{"203.0.113.7"}
	})
	both := slice("web-1", 8080, endpoint(one.ip, "here", isReady), endpoint(two.ip, "here", isReady))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24"}}}
	client := fake.NewClientset(node, web, both, service("empty", "10.96.0.11"))

	const settings = `{"tableName":"svc-test"}`
	start := func() (stop func()) {
		p := New()
		if err := p.Configure(t.Context(), []byte(settings)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- p.run(ctx, client, plugin.Env{Node: "here", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		}()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := start()

	// Each kind of address, from the node, from pods (also such as it leads back to) and
	// from outside.
	expect(t, "one two", get, "10.96.0.10")
	for range 8 {
		expect(t, "one two", one.get, "10.96.0.10")
	}
	expect(t, "one two", two.get, "10.96.0.10")
	expect(t, "one two", get, "192.168.77.1:30080")
	expect(t, "one two", far.get, "192.168.77.1:30080")
	expect(t, "one two", one.get, "192.168.77.1:30080")
	expect(t, "one two", far.get, "203.0.113.7")
	seen := map[string]bool{}
	for range 64 {
		s, err := get("10.96.0.10")
		if err != nil {
			t.Fatal(err)
		}
		seen[s] = true
	}
	if len(seen) != 2 {
		t.Errorf("64 connections reached only %v", seen)
	}

	// No endpoints, and a port that the service has not: refused, and at once.
	for _, address := range []string{"10.96.0.11:80", "10.96.0.10:81"} {
		began := time.Now()
		if _, err := get(address); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) > time.Second {
			t.Errorf("%s from the node: %v after %v, want refusal at once", address, err, time.Since(began))
		}
		if _, err := one.get(address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s from a pod: %v, want refusal", address, err)
		}
	}

	// A connection that stands survives a restart of the plugin and a full resync.
	standing, err := net.Dial("tcp", "10.96.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	defer standing.Close()
	stop()
	expect(t, "one two", get, "10.96.0.10") // it goes on without the plugin
	if err := client.CoreV1().Services("default").Delete(t.Context(), "empty", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stop = start()
	eventually(t, func() error { // what changed meanwhile is found
		if out := sh(t, "nft", "list", "ruleset"); strings.Contains(out, "10.96.0.11") || strings.Contains(out, "default/empty") {
			return errors.New("the deleted service is still there")
		}
		return nil
	})
	fmt.Fprintf(standing, "GET / HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(standing); err != nil || !strings.Contains(string(b), "200 OK") {
		t.Errorf("the standing connection: %v, %q", err, b)
	}

	// A client stays with its endpoint.
	sticky := web.DeepCopy()
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	sticky.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](60)}}
	if _, err := client.CoreV1().Services("default").Update(t.Context(), sticky, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if !strings.Contains(sh(t, "nft", "list", "ruleset"), "timeout 1m") {
			return errors.New("no affinity yet")
		}
		return nil
	})
	first, err := far.get("192.168.77.1:30080")
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		expect(t, first, far.get, "192.168.77.1:30080")
	}

	// An endpoint that is gone gets nothing more, not even from who had stayed with it.
	left := map[string]peer{"one": two, "two": one}[first]
	update(t, client, slice("web-1", 8080, endpoint(left.ip, "here", isReady)))
	expect(t, left.name, far.get, "192.168.77.1:30080")
	for range 16 {
		if s, err := get("10.96.0.10"); err != nil || s != left.name {
			t.Fatalf("got %q, %v, want %q", s, err, left.name)
		}
	}
	update(t, client, slice("web-1", 8080))
	eventually(t, func() error {
		if _, err := get("10.96.0.10"); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("no endpoint is left: %w, want refusal", err)
		}
		return nil
	})
	eventually(t, func() error {
		if out := sh(t, "nft", "list", "ruleset"); strings.Contains(out, "ep-") || strings.Contains(out, "aff-") {
			return errors.New("something of the endpoints is left")
		}
		return nil
	})

	stop()
	for range 2 { // cleaning is idempotent
		if err := Clean(t.Context(), []byte(settings)); err != nil {
			t.Fatal(err)
		}
	}
	if after := sh(t, "nft", "list", "ruleset"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}
