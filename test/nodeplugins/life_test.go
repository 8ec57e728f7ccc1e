package nodeplugins

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/test/process"
)

// A plugin from a registry runs on each node, is upgraded and goes back on each, and leaves
// nothing.
func TestLifeOnNodes(t *testing.T) {
	c := start(t, "plugins: []\n")
	nodes := []string{"node-a", "node-b"}
	agents := []*agent{c.join(t, nodes[0], "plugins: []\n"), c.join(t, nodes[1], "plugins: []\n")}
	first, second, broken := c.push(t, "sentry", "1.0.0", "controller"), c.push(t, "sentry", "2.0.0", "controller"), c.push(t, "sentry", "3.0.0", "controller")
	for _, n := range nodes {
		c.ready(t, n)
	}

	// It asks for permissions that nobody has granted, and runs without them.
	out := c.pintle(t, "plugin", "install", first, "--node-scoped", "--arg", "guest", "--arg", "sentry")
	for _, want := range []string{"1.0.0", "configmaps", "plugin grant sentry"} {
		if !strings.Contains(out, want) {
			t.Errorf("install does not say %q:\n%s", want, out)
		}
	}
	c.runs(t, "1.0.0", "sentry", "sentry.node-a", "sentry.node-b")
	if _, err := c.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(t.Context(), "sentry-node-a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("before it is granted anything: %v", err)
	}
	c.pintle(t, "plugin", "grant", "sentry")
	for _, n := range nodes {
		got := c.report(t, n, "1.0.0")
		if got["uid"] == "0" || got["pid"] != "1" || got["links"] != "lo" {
			t.Errorf("on %s it is not confined: %v", n, got)
		}
	}

	// What is seen of it.
	list := c.pintle(t, "plugin", "list")
	info := c.pintle(t, "plugin", "info", "sentry")
	for _, want := range []string{"sentry", "sentry.node-a", "sentry.node-b"} {
		if !slices.Contains(strings.Fields(list), want) {
			t.Errorf("the list lacks %s:\n%s", want, list)
		}
	}
	for _, want := range []string{"node-a", "node-b", "runs on 2 nodes", "acme"} {
		if !strings.Contains(info, want) {
			t.Errorf("info lacks %q:\n%s", want, info)
		}
	}
	if info := c.pintle(t, "plugin", "info", "sentry.node-b"); !strings.Contains(info, "node-b") || !strings.Contains(info, "own user, own processes, no network") {
		t.Errorf("info of one node:\n%s", info)
	}
	if logs := c.pintle(t, "plugin", "logs", "sentry.node-b"); !strings.Contains(logs, "I stand at node-b") {
		t.Errorf("logs of one node:\n%s", logs)
	}

	// Another version and back again, all at once and on all nodes.
	out = c.pintle(t, "plugin", "upgrade", "sentry", second)
	if !strings.Contains(out, "2.0.0") {
		t.Errorf("upgrade:\n%s", out)
	}
	for _, n := range nodes {
		c.report(t, n, "2.0.0")
	}
	c.runs(t, "2.0.0", "sentry", "sentry.node-a", "sentry.node-b")
	if out, err := c.try(t, "plugin", "upgrade", "sentry", broken); err == nil || !strings.Contains(err.Error(), "stays at version") {
		t.Errorf("upgrade to what does not run: %v\n%s", err, out)
	}
	c.runs(t, "2.0.0", "sentry.node-a", "sentry.node-b")
	c.pintle(t, "plugin", "rollback", "sentry")
	for _, n := range nodes {
		c.report(t, n, "1.0.0")
	}

	// A restart is one on all nodes, or on one.
	for _, who := range []string{"sentry", "sentry.node-a"} {
		before := map[string]int64{}
		for _, n := range nodes {
			before[n] = c.pid(t, "sentry."+n)
		}
		c.pintle(t, "plugin", "restart", who)
		for _, n := range nodes {
			if who == "sentry" || who == "sentry."+n {
				process.Eventually(t, time.Minute, who+" is restarted on "+n, func() error {
					if now := c.pid(t, "sentry."+n); now == 0 || now == before[n] {
						return fmt.Errorf("process %d", now)
					}
					return nil
				})
				c.runs(t, "1.0.0", "sentry."+n)
			}
		}
	}

	// It leaves nothing.
	c.pintle(t, "plugin", "remove", "sentry")
	left, err := c.dynamic.Resource(plugins).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("objects are left: %v, %v", left, err)
	}
	if _, err := c.client.RbacV1().ClusterRoles().Get(t.Context(), "pintle:plugin:sentry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its permissions: %v", err)
	}
	for _, a := range agents {
		if pids := running(filepath.Join(a.data(), "catalogue")); len(pids) > 0 {
			t.Errorf("processes are left on %s: %v", a.name, pids)
		}
		if files, _ := filepath.Glob(filepath.Join(a.data(), "hosts", "node", "wishes", "*")); len(files) > 0 {
			t.Errorf("%s remembers %v", a.name, files)
		}
	}
	if pids := running(daemonTime); len(pids) > 0 {
		t.Errorf("what it had started is left: %v", pids)
	}
}

func (c *cluster) pid(t *testing.T, name string) int64 {
	t.Helper()
	u, _, _, err := c.plugin(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := unstructured.NestedInt64(u.Object, "status", "pid")
	return pid
}

// A plugin of the configuration runs on the nodes that have it, and a node that is gone holds
// nothing up.
func TestConfiguredOnNodes(t *testing.T) {
	const configured = `plugins: [{name: sentry, directory: "%D/sentry-1.0.0", allowUnsigned: true, nodeScoped: true, grant: true, args: [guest, sentry]}]` + "\n"
	c := start(t, configured)
	bundle(t, c.Dir, "sentry", "1.0.0", "controller")
	a := c.join(t, "node-a", configured)
	c.join(t, "node-b", "plugins: []\n")
	c.ready(t, "node-b")
	c.report(t, "node-a", "1.0.0")
	c.runs(t, "1.0.0", "sentry.node-a")
	for _, name := range []string{"sentry", "sentry.node-b"} {
		if u, _, _, err := c.plugin(t.Context(), name); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v, %v", name, u, err)
		}
	}
	// One for all nodes by that name can't be wished for.
	if _, err := c.try(t, "plugin", "install", c.Dir+"/sentry-1.0.0", "--node-scoped"); err == nil || !strings.Contains(err.Error(), "configuration") {
		t.Errorf("installed beside the configuration: %v", err)
	}
	// Others that somebody wishes for do not touch it.
	c.pintle(t, "plugin", "install", c.push(t, "shelf", "1.0.0", "storage"), "--node-scoped", "--arg", "guest", "--arg", "shelf")
	before := c.pid(t, "sentry.node-a")
	c.pintle(t, "plugin", "restart", "sentry.node-a")
	process.Eventually(t, time.Minute, "the sentry is restarted", func() error {
		if now := c.pid(t, "sentry.node-a"); now == 0 || now == before {
			return fmt.Errorf("process %d", now)
		}
		return nil
	})
	c.pintle(t, "plugin", "remove", "shelf")
	if _, err := c.client.RbacV1().ClusterRoles().Get(t.Context(), "pintle:plugin:sentry", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	a.end(9)
	process.Eventually(t, time.Second, "no guest is left", func() error {
		if pids := append(running(filepath.Join(a.data(), "catalogue")), running(daemonTime)...); len(pids) > 0 {
			return errors.New(strings.Join(pids, " "))
		}
		return nil
	})
}

// A binary on the nodes' own disks has no manifest: what it asks for is what nodes report, and
// granted rule by rule.
func TestBinaryOfNodes(t *testing.T) {
	c := start(t, "plugins: []\n")
	c.join(t, "node-a", "plugins: []\n")
	c.ready(t, "node-a")
	binary := filepath.Join(bundle(t, c.Dir, "sentry", "1.0.0", "controller"), "guest")
	c.pintle(t, "plugin", "install", binary, "--name", "sentry", "--node-scoped", "--grant", "--arg", "guest", "--arg", "sentry")
	c.runs(t, "1.0.0", "sentry.node-a", "sentry")
	process.Eventually(t, time.Minute, "what it asks for is shown", func() error {
		if out := c.pintle(t, "plugin", "info", "sentry"); !strings.Contains(out, "Pending:") {
			return errors.New(out)
		}
		return nil
	})
	c.pintle(t, "plugin", "grant", "sentry")
	c.report(t, "node-a", "1.0.0")
	c.pintle(t, "plugin", "remove", "sentry")
}
