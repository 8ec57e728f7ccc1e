package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

// program stands for CNI's programs, so that the tests need neither root nor a network: who is
// attached is a file beside it.
const program = `#!/bin/sh
state="$(dirname "$0")/attached-$CNI_CONTAINERID"
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
ADD) touch "$state"; echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.88.0.2/24"}]}' ;;
CHECK) [ -e "$state" ] || { echo '{"cniVersion": "1.0.0", "code": 11, "msg": "it is not attached"}'; exit 1; } ;;
DEL) rm -f "$state" ;;
esac
`

func programs(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bridge is one that no machine has.
const bridge = "pods-test"

func settings(t testing.TB, binDir string) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"bridge": bridge, "binDirs": []string{binDir}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var (
	node = network.Node{Name: "n1", PodCIDRs: []string{"10.88.0.0/24"}}
	pod  = network.Pod{
		Namespace: "default", Name: "web", UID: "uid-1", SandboxID: "sandbox-1", NetNS: "/run/netns/web",
		Ports: []network.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}},
	}
)

func TestNetworkContract(t *testing.T) {
	plugintest.RunNetwork(t, plugintest.NetworkCase{
		Case: plugintest.Case{
			Settings: settings(t, programs(t, "bridge", "host-local", "portmap")),
			BadSettings: map[string]string{
				`{"podCIDR":"10.88.0.1/24"}`:           "settings.podCIDR",
				`{"bridge":"a-name-that-is-too-long"}`: "settings.bridge",
				`{"binDirs":["relative"]}`:             "settings.binDirs[0]",
				`{"mtu":1500}`:                         "settings.mtu",
			},
		},
		New:  func() network.Network { return &Plugin{} },
		Node: node,
		Pod:  func(testing.TB) network.Pod { return pod },
	})
}

// The plugin's process, or its machine, may die at any time.
func TestAttachedPodsOutliveTheProcess(t *testing.T) {
	dir, env := programs(t, "bridge", "host-local", "portmap"), plugin.Env{Dir: t.TempDir()}
	start := func() *Plugin {
		p := &Plugin{settings: Settings{Bridge: bridge, BinDirs: []string{dir}}}
		if err := p.Setup(t.Context(), env, node); err != nil {
			t.Fatal(err)
		}
		return p
	}
	before, err := start().Attach(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	again := start()
	if err := again.Check(t.Context(), pod); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	after, err := again.Attach(t.Context(), pod)
	if err != nil || after.IPs[0] != before.IPs[0] {
		t.Errorf("after a restart it is attached as %v, was %v: %v", after, before, err)
	}
	// A machine that has started again has the file, and not the link.
	if err := os.Remove(filepath.Join(dir, "attached-"+pod.SandboxID)); err != nil {
		t.Fatal(err)
	}
	if err := again.Check(t.Context(), pod); err == nil {
		t.Error("a link that is gone is not noticed")
	}
	if _, err := again.Attach(t.Context(), pod); err != nil {
		t.Error(err)
	}
	if err := again.Check(t.Context(), pod); err != nil {
		t.Errorf("attached anew: %v", err)
	}
}

func TestMissingProgramIsNamed(t *testing.T) {
	p := &Plugin{settings: Settings{Bridge: bridge, BinDirs: []string{programs(t, "bridge")}}}
	err := p.Setup(t.Context(), plugin.Env{Dir: t.TempDir()}, node)
	if err == nil || !strings.Contains(err.Error(), `"portmap"`) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Attach(t.Context(), pod); err == nil || !strings.Contains(err.Error(), "not set up") {
		t.Errorf("got %v", err)
	}
}
