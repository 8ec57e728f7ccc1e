package network_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/plugins/internal/netnstest"
	"github.com/pintle-dev/pintle/plugins/network"
	sdknetwork "github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// TestMain runs the tests where they may change the network.
func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// podNetNS makes a network namespace as the runtime would.
func podNetNS(t *testing.T, name string) string {
	t.Helper()
	name = fmt.Sprintf("pintle-test-%d-%s", os.Getpid(), name)
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return "/run/netns/" + name
}

// apiServer answers just the node requests that routes are made from.
func apiServer(t *testing.T, nodes ...corev1.Node) *rest.Config {
	t.Helper()
	srv := httptest.NewServer(nodesHandler(nodes))
	t.Cleanup(func() {
		srv.CloseClientConnections() // a watch that a failed test left open
		srv.Close()
	})
	return &rest.Config{Host: srv.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

func node(name, ip string, cidrs ...string) corev1.Node {
	return corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), ResourceVersion: "1"},
		Spec:       corev1.NodeSpec{PodCIDRs: cidrs},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}}},
	}
}

func TestPodsReachEachOtherAndNothingIsLeftBehind(t *testing.T) {
	ctx := context.Background()
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
	run(t, "ip", "link", "set", "far", "up")
	run(t, "ip", "addr", "add", "192.168.77.1/24", "dev", "uplink")
	run(t, "ip", "link", "set", "uplink", "up")
	before := run(t, "ip", "-o", "link") + run(t, "nft", "list", "ruleset") + run(t, "ip", "route")

	n := network.New()
	if err := n.Configure(ctx, []byte(`{"clusterCIDR":"10.99.0.0/16","bridge":"pt0"}`)); err != nil {
		t.Fatal(err)
	}
	env := plugin.Env{
		Config: apiServer(t, node("a", "192.168.77.1", "10.99.0.0/24"), node("b", "192.168.77.2", "10.99.1.0/24")),
		Log:    slog.New(slog.DiscardHandler), Node: "a", Dir: t.TempDir(),
	}
	if err := n.Setup(ctx, env, sdknetwork.Node{Name: "a", PodCIDRs: []string{"10.99.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	pods := make([]sdknetwork.Pod, 2)
	ips := make([]string, 2)
	for i := range pods {
		pods[i] = sdknetwork.Pod{
			Namespace: "default", Name: fmt.Sprintf("p%d", i), UID: fmt.Sprint(i),
			SandboxID: fmt.Sprintf("sandbox%d", i), NetNS: podNetNS(t, fmt.Sprint(i)),
		}
		if i == 0 {
			pods[i].Ports = []sdknetwork.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}}
		}
		res, err := n.Attach(ctx, pods[i])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(res.IPs[0], "10.99.0.") {
			t.Fatalf("address %s is not of the node's range", res.IPs[0])
		}
		ips[i] = res.IPs[0]
		again, err := n.Attach(ctx, pods[i])
		if err != nil || again.IPs[0] != ips[i] {
			t.Fatalf("attaching twice gave %v, %v, want %s", again.IPs, err, ips[i])
		}
		if err := n.Check(ctx, pods[i]); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "ip", "netns", "exec", strings.TrimPrefix(pods[0].NetNS, "/run/netns/"), "busybox", "ping", "-c1", "-W2", ips[1])
	if out := run(t, "nft", "list", "ruleset"); !strings.Contains(out, ips[0]+" . 80") {
		t.Errorf("host port 8080 is not forwarded to %s:\n%s", ips[0], out)
	}

	for _, p := range pods {
		for range 2 { // detaching is idempotent, too
			if err := n.Detach(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out := run(t, "nft", "list", "ruleset"); strings.Contains(out, "8080") {
		t.Errorf("the host port is still forwarded:\n%s", out)
	}
	if err := n.Teardown(ctx); err != nil {
		t.Fatal(err)
	}
	after := run(t, "ip", "-o", "link") + run(t, "nft", "list", "ruleset") + run(t, "ip", "route")
	if before != after {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestSettingsAreRefusedWithTheirField(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"unknown key", `{"clusterCidrs":"x"}`, `unknown field "clusterCidrs"`},
		{"not a range", `{"clusterCIDR":"10.0.0.0"}`, "settings.clusterCIDR"},
		{"host bits", `{"clusterCIDR":"10.0.0.7/16"}`, "did you mean 10.0.0.0/16"},
		{"mask too short", `{"nodeMaskSize":8}`, "settings.nodeMaskSize"},
		{"long bridge", `{"bridge":"a-name-that-is-too-long"}`, "settings.bridge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := network.New().Configure(context.Background(), []byte(tc.in))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestMissingCNIPluginIsNamed(t *testing.T) {
	n := network.New()
	if err := n.Configure(context.Background(), []byte(`{"cniBinDirs":["`+t.TempDir()+`"]}`)); err != nil {
		t.Fatal(err)
	}
	env := plugin.Env{Config: apiServer(t), Log: slog.New(slog.DiscardHandler), Dir: t.TempDir()}
	err := n.Setup(context.Background(), env, sdknetwork.Node{Name: "a", PodCIDRs: []string{"10.99.0.0/24"}})
	if err == nil || !strings.Contains(err.Error(), `CNI plugin "bridge"`) {
		t.Fatalf("got %v, want the missing plugin named", err)
	}
}
