package cache_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

func pod(name string, cpu int64) *model.Pod {
	p := &model.Pod{Constraints: &model.Constraints{HostPorts: []model.HostPort{{Port: int32(cpu)}}}}
	p.Name, p.UID = name, types.UID(name)
	p.Requests.MilliCPU = cpu
	p.Load = model.LoadOf(&p.Requests)
	return p
}

func TestAssumptions(t *testing.T) {
	c := cache.New()
	p := pod("p", 100)
	c.Assume(p.On("n1"))
	if got := c.Node("n1").Requested.MilliCPU; got != 100 {
		t.Fatalf("an assumed pod takes %d", got)
	}
	if c.Place(p.On("n1")) {
		t.Error("the confirmation of an assumption is news")
	}
	if c.Forget("p") {
		t.Error("a confirmed pod was forgotten")
	}
	c.Assume(pod("q", 50).On("n1"))
	if !c.Forget("q") {
		t.Error("an assumption can't be taken back")
	}
	if !c.Place(p.On("n2")) {
		t.Error("another node is no news")
	}
	if c.Node("n1") != nil {
		t.Error("a node that is unknown and empty is kept")
	}
}

// TestSums changes the cache at random and compares it with a plain model of it.
func TestSums(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := cache.New()
		type at struct {
			node string
			cpu  int64
		}
		pods, nodes := map[string]at{}, map[string]bool{}
		name := rapid.SampledFrom([]string{"n0", "n1", "n2"})
		uid := rapid.SampledFrom([]string{"p0", "p1", "p2", "p3"})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			n, u := name.Draw(rt, "node"), uid.Draw(rt, "pod")
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				node := &model.Node{}
				node.Name = n
				c.SetNode(node)
				nodes[n] = true
			case 1:
				c.RemoveNode(n)
				delete(nodes, n)
			case 2, 3:
				cpu := int64(rapid.IntRange(1, 5).Draw(rt, "cpu"))
				p := pod(u, cpu)
				p.Class = fmt.Sprint(cpu)
				if rapid.Bool().Draw(rt, "assume") {
					c.Assume(p.On(n))
				} else {
					c.Place(p.On(n))
				}
				pods[u] = at{n, cpu}
			case 4:
				c.Remove(types.UID(u))
				delete(pods, u)
			}
		}
		sums, counts := map[string]int64{}, map[string]int{}
		for _, a := range pods {
			sums[a.node] += a.cpu
			counts[a.node]++
		}
		for _, n := range []string{"n0", "n1", "n2"} {
			info := c.Node(n)
			if info == nil {
				if nodes[n] || counts[n] > 0 {
					rt.Fatalf("%s is not known", n)
				}
				continue
			}
			if info.Requested.MilliCPU != sums[n] || len(info.Pods) != counts[n] || len(info.Ports) != counts[n] || (info.Node != nil) != nodes[n] {
				rt.Fatalf("%s: requested %d, pods %d, ports %d; want %d of %d", n, info.Requested.MilliCPU, len(info.Pods), len(info.Ports), sums[n], counts[n])
			}
			if c.Slots()[info.Slot] != info {
				rt.Fatalf("%s is not in its slot", n)
			}
		}
		if c.Nodes() != len(nodes) {
			rt.Fatalf("%d nodes, want %d", c.Nodes(), len(nodes))
		}
	})
}
