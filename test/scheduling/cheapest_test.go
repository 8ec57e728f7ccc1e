package scheduling

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/test/process"
)

const root = "../.."

// program is the example as a stranger would build it, and its checksum.
var program, checksum string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pintle-scheduling")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = build(dir, "cheapest")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return process.Main(m, root)
}

func build(dir, example string) error {
	program = filepath.Join(dir, example)
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join(root, "sdk", "examples", example)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build example %s: %w\n%s", example, err, out)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	checksum = hex.EncodeToString(sum[:])
	return nil
}

type cluster struct {
	*process.Server
	t      *testing.T
	client kubernetes.Interface
	dyn    dynamic.Interface
}

func startCluster(t *testing.T, policy string) *cluster {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cheapest") // one of its own, which may be taken away
	if err := os.Link(program, path); err != nil {
		t.Fatal(err)
	}
	s := process.Start(t, process.Pintle(), fmt.Sprintf(`plugins:
  - name: scheduler
    settings:
      extensions: [{plugin: cheapest, weight: 10, failurePolicy: %s, timeoutSeconds: 10}]
  - name: cheapest
    path: %s
    sha256: %s
    settings: {label: price, maxLabel: max-price}
`, policy, path, checksum))
	client, err := kubernetes.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(s.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem} { // no controller runs that would
		account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if _, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return &cluster{Server: s, t: t, client: client, dyn: dyn}
}

func (c *cluster) node(name, price string) {
	c.t.Helper()
	n, err := c.client.CoreV1().Nodes().Create(c.t.Context(), &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"price": price}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	n.Status.Allocatable = v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("32"), v1.ResourceMemory: resource.MustParse("64Gi"), v1.ResourcePods: resource.MustParse("110"),
	}
	n.Status.Capacity = n.Status.Allocatable
	if _, err := c.client.CoreV1().Nodes().UpdateStatus(c.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	// No agent and no controller runs that would say that it is ready.
	if _, err := c.client.CoreV1().Nodes().Patch(c.t.Context(), name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) pod(namespace, name string, annotations map[string]string) {
	c.t.Helper()
	_, err := c.client.CoreV1().Pods(namespace).Create(c.t.Context(), &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until a pod is as wanted.
func (c *cluster) eventually(namespace, name, what string, want func(*v1.Pod) bool) {
	c.t.Helper()
	process.Eventually(c.t, time.Minute, what, func() error {
		p, err := c.client.CoreV1().Pods(namespace).Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil || want(p) {
			return err
		}
		return fmt.Errorf("pod %s is on node %q, conditions %+v", name, p.Spec.NodeName, p.Status.Conditions)
	})
}

func (c *cluster) placed(namespace, name, node string) {
	c.t.Helper()
	c.eventually(namespace, name, name+" is on "+node, func(p *v1.Pod) bool { return p.Spec.NodeName == node })
}

// says waits until a pod's condition PodScheduled has a text.
func (c *cluster) says(name, reason, text string) {
	c.t.Helper()
	c.eventually("default", name, name+": "+text, func(p *v1.Pod) bool {
		for _, cond := range p.Status.Conditions {
			if cond.Type == v1.PodScheduled && cond.Status == v1.ConditionFalse {
				return cond.Reason == reason && strings.Contains(cond.Message, text)
			}
		}
		return false
	})
}

func (c *cluster) plugin(name string) *unstructured.Unstructured {
	c.t.Helper()
	var out *unstructured.Unstructured
	process.Eventually(c.t, time.Minute, "plugin "+name+" runs", func() error {
		o, err := c.dyn.Resource(schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}).Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if health, _, _ := unstructured.NestedString(o.Object, "status", "health"); health != "Healthy" {
			return fmt.Errorf("status %v", o.Object["status"])
		}
		out = o
		return nil
	})
	return out
}

func (c *cluster) kill(name string) {
	c.t.Helper()
	pid, _, err := unstructured.NestedInt64(c.plugin(name).Object, "status", "pid")
	if err != nil || pid == 0 {
		c.t.Fatalf("plugin %s has process %d: %v", name, pid, err)
	}
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}

func TestPlacementFollowsTheScoreOfAPlugin(t *testing.T) {
	c := startCluster(t, "Fail")
	c.node("dear", "9.5")
	c.node("cheap", "0.5")
	c.node("middle", "3")
	for i := range 5 {
		c.pod("default", fmt.Sprint("p", i), nil)
	}
	for i := range 5 {
		c.placed("default", fmt.Sprint("p", i), "cheap")
	}

	// A filter's refusal reads as kube-scheduler words it, in the condition and in the event.
	const refusal = "0/3 nodes are available: 3 node(s) cost more than 0.1."
	c.pod("default", "poor", map[string]string{"max-price": "0.1"})
	c.says("poor", v1.PodReasonUnschedulable, refusal)
	process.Eventually(t, time.Minute, "an event says why", func() error {
		events, err := c.client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=poor,reason=FailedScheduling"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Message == refusal {
				return nil
			}
		}
		return errors.New("no event yet")
	})

	// A node that changes is seen as it is.
	if _, err := c.client.CoreV1().Nodes().Patch(t.Context(), "dear", types.MergePatchType, []byte(`{"metadata":{"labels":{"price":"0.05"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.placed("default", "poor", "dear")

	// A plugin that can't tell is named, and what the cluster itself needs goes on.
	c.pod("default", "odd", map[string]string{"max-price": "much"})
	c.says("odd", v1.PodReasonSchedulerError, `running scheduling plugin "cheapest": max-price of the pod: "much" is no price`)
	c.pod(metav1.NamespaceSystem, "exempt", map[string]string{"max-price": "much"})
	c.eventually(metav1.NamespaceSystem, "exempt", "a pod of the system is scheduled", func(p *v1.Pod) bool { return p.Spec.NodeName != "" })

	// It comes back after a death, and the pods meanwhile are placed as it says.
	c.kill("cheapest")
	c.pod("default", "late", nil)
	c.placed("default", "late", "dear")
}

func TestADeadPluginHoldsUpOnlyWhereItsPolicySaysSo(t *testing.T) {
	for _, policy := range []string{"Fail", "Ignore"} {
		t.Run(policy, func(t *testing.T) {
			c := startCluster(t, policy)
			c.node("dear", "9.5")
			c.node("cheap", "0.5")
			c.plugin("cheapest")
			path := c.disable()
			c.pod("default", "p", nil)
			if policy == "Ignore" {
				c.eventually("default", "p", "it is placed", func(p *v1.Pod) bool { return p.Spec.NodeName != "" })
				return
			}
			c.says("p", v1.PodReasonSchedulerError, `scheduling plugin "cheapest" is not running`)
			c.enable(path)
			c.placed("default", "p", "cheap")
		})
	}
}

// disable takes the plugin's program away and kills it, so that it stays away.
func (c *cluster) disable() (hidden [2]string) {
	c.t.Helper()
	path, _, _ := unstructured.NestedString(c.plugin("cheapest").Object, "spec", "path")
	if path == "" {
		path, _, _ = unstructured.NestedString(c.plugin("cheapest").Object, "spec", "source", "path")
	}
	hidden = [2]string{path, path + ".hidden"}
	if err := os.Rename(hidden[0], hidden[1]); err != nil {
		c.t.Fatal(err)
	}
	c.kill("cheapest")
	process.Eventually(c.t, time.Minute, "it stays away", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		o, err := c.dyn.Resource(schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}).Get(ctx, "cheapest", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if health, _, _ := unstructured.NestedString(o.Object, "status", "health"); health != "BackOff" && health != "Refused" {
			return fmt.Errorf("it is %s", health)
		}
		return nil
	})
	return hidden
}

// enable puts the program back and asks for a restart.
func (c *cluster) enable(hidden [2]string) {
	c.t.Helper()
	if err := os.Rename(hidden[1], hidden[0]); err != nil {
		c.t.Fatal(err)
	}
	patch := fmt.Sprintf(`{"spec":{"restartedAt":%q}}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := c.dyn.Resource(schema.GroupVersionResource{Group: "core.pintle.dev", Version: "v1", Resource: "plugins"}).
		Patch(c.t.Context(), "cheapest", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}
