// Package checksums holds the plugin in src, which is Python, to the contract, and sees it at
// work in a control plane.
package checksums

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/plugintest/cluster"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

const annotation = "example.dev/checksum"

// built is the plugin's one file.
func built(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("there is no /usr/bin/python3 with grpc, protobuf and cryptography (on Debian: python3-grpcio python3-protobuf python3-cryptography): %v: %s",
			err, lines[len(lines)-1])
	}
	dir := t.TempDir()
	if out, err := exec.Command("./build", dir).CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return filepath.Join(dir, "checksums")
}

// The generated code is that of the contract as it is now.
func TestGenerated(t *testing.T) {
	built(t)
	show := exec.Command("/usr/bin/python3", "-c",
		"import sys; from sdk.proto.plugin.v1 import base_pb2; sys.stdout.buffer.write(base_pb2.DESCRIPTOR.serialized_pb)")
	show.Env = []string{"PYTHONPATH=src", "PYTHONDONTWRITEBYTECODE=1"}
	raw, err := show.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(pluginv1.File_sdk_proto_plugin_v1_base_proto)
	for _, m := range want.GetMessageType() {
		for _, f := range m.GetField() {
			f.JsonName = nil // that of the field's name, which Python does not write down
		}
	}
	if !proto.Equal(&got, want) {
		t.Errorf("src/sdk/proto is not that of sdk/proto: run ./generate\n%v\n%v", &got, want)
	}
}

func TestContract(t *testing.T) {
	plugintest.RunProcess(t, plugintest.ProcessCase{
		Command: []string{built(t)},
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"label":""}`: "settings.label", `{"label":"a=b"}`: "settings.label", `{"labels":"x"}`: "settings.labels",
		}},
	})
}

func TestChecksums(t *testing.T) {
	c := cluster.Start(t, cluster.Options{RBAC: true, Plugins: []cluster.Plugin{{
		Name: "checksums", Command: []string{built(t)}, Settings: []byte(`{"label":"watched"}`),
	}}})
	t.Cleanup(func() {
		if t.Failed() {
			lines, err := c.PluginLogs("checksums")
			t.Logf("the plugin's logs (%v):\n%s", err, strings.Join(lines, "\n"))
		}
	})
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	maps := client.CoreV1().ConfigMaps("default")
	create := func(name string, labels map[string]string) {
		t.Helper()
		_, err := maps.Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string]string{"b": "2", "a": "1"},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	// becomes waits for a checksum other than the one before, and returns it.
	becomes := func(name, before string) (sum string) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			cm, err := maps.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			sum = cm.Annotations[annotation]
			return sum != before && sum != "", nil
		})
		if err != nil {
			t.Fatalf("ConfigMap %s has checksum %q: %v", name, sum, err)
		}
		return sum
	}
	create("other", nil)
	create("one", map[string]string{"watched": ""})
	create("two", map[string]string{"watched": ""})
	// SHA-256 of {"binaryData":{},"data":{"a":"1","b":"2"}}
	const first = "25ed250e82004a46f37928f73467e98ff3eb1fcf8eb592a1082ab763485dc502"
	if sum := becomes("one", ""); sum != first {
		t.Errorf("checksum %s, want %s", sum, first)
	}
	if sum := becomes("two", ""); sum != first {
		t.Errorf("two ConfigMaps that hold the same have checksums %s and %s", sum, first)
	}
	change := func(i int) {
		t.Helper()
		patch := fmt.Sprintf(`{"data":{"a":"%d"}}`, i)
		if _, err := maps.Patch(t.Context(), "one", "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	change(2)
	second := becomes("one", first)
	// What happens while it is away is seen when it is back.
	if err := c.RestartPlugin(t.Context(), "checksums"); err != nil {
		t.Fatal(err)
	}
	change(3)
	becomes("one", second)
	cm, err := maps.Get(t.Context(), "other", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if sum, ok := cm.Annotations[annotation]; ok {
		t.Errorf("a ConfigMap without the label has checksum %s", sum)
	}
}
