package plugintest

import (
	"reflect"
	"testing"

	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// NetworkCase is a network to be held to the contract. Authors give a node, and a pod
// whose network namespace exists.
type NetworkCase struct {
	Case
	New  func() network.Network
	Node network.Node
	// Pod makes a pod sandbox and removes it with the test.
	Pod func(testing.TB) network.Pod
}

// RunNetwork holds a network to the contract: every call repeated gives what it gave
// before.
func RunNetwork(t *testing.T, c NetworkCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("every call can be repeated", func(t *testing.T) {
		h := Start(t, c.New())
		configure(t, h.Client, c.Settings)
		n, ok := h.Client.Network()
		if !ok {
			t.Fatal("the host is not told that the plugin is a network")
		}
		ctx := t.Context()
		pod := c.Pod(t)
		twice := func(what string, f func() error) {
			t.Helper()
			for i := range 2 {
				if err := f(); err != nil {
					t.Fatalf("%s, call %d: %v", what, i+1, err)
				}
			}
		}
		twice("setup", func() error { return n.Setup(ctx, plugin.Env{}, c.Node) })
		var results []network.Result
		twice("attach", func() error {
			r, err := n.Attach(ctx, pod)
			results = append(results, r)
			return err
		})
		if len(results[0].IPs) == 0 {
			t.Error("the pod got no address")
		}
		if !reflect.DeepEqual(results[0], results[1]) {
			t.Errorf("attach repeated gave %+v after %+v", results[1], results[0])
		}
		twice("check", func() error { return n.Check(ctx, pod) })
		twice("detach", func() error { return n.Detach(ctx, pod) })
		if err := n.Check(ctx, pod); err == nil {
			t.Error("check finds nothing wrong with a pod that was detached")
		}
		twice("teardown", func() error { return n.Teardown(ctx) })
	})
}
