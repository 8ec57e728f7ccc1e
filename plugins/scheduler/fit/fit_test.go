package fit_test

import (
	"errors"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/scheduler/cache"
	"github.com/pintle-dev/pintle/plugins/scheduler/fit"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

func pod(t testing.TB, name, labels, spec string) *model.Pod {
	t.Helper()
	if labels == "" {
		labels = "{}"
	}
	p, err := model.DecodePod(fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"default","uid":%q,"labels":%s},"spec":%s}`, name, name, labels, spec))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func node(t testing.TB, name, labels, spec, allocatable string) *model.Node {
	t.Helper()
	if allocatable == "" {
		allocatable = `{"cpu":"4","memory":"8Gi","pods":"10"}`
	}
	if spec == "" {
		spec = "{}"
	}
	n, err := model.DecodeNode(fmt.Sprintf(`{"metadata":{"name":%q,"labels":%s},"spec":%s,"status":{"allocatable":%s}}`, name, labels, spec, allocatable))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func cpu(n string) string {
	return `{"containers":[{"resources":{"requests":{"cpu":"` + n + `"}}}]}`
}

const zoneSpread = `{"containers":[{}],"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"a"}}}]}`
const antiZone = `{"containers":[{}],"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{"matchLabels":{"app":"a"}}}]}}}`
const withZone = `{"containers":[{}],"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{"matchLabels":{"app":"a"}}}]}}}`

func TestChoose(t *testing.T) {
	type placed struct{ name, labels, spec, node string }
	a, b := `{"zone":"a","kubernetes.io/hostname":"n1"}`, `{"zone":"b","kubernetes.io/hostname":"n2"}`
	two := func(t *testing.T) []*model.Node {
		return []*model.Node{node(t, "n1", a, "", ""), node(t, "n2", b, "", "")}
	}
	tests := []struct {
		name   string
		nodes  func(t *testing.T) []*model.Node
		placed []placed
		labels string
		spec   string
		want   string // the node, or the error
	}{
		{"no nodes", func(*testing.T) []*model.Node { return nil }, nil, "", cpu("1"), "no nodes available to schedule pods"},
		{"the emptier node", two, []placed{{"x", "", cpu("1"), "n1"}}, "", cpu("1"), "n2"},
		{"too little cpu", two, []placed{{"x", "", cpu("2"), "n2"}}, "", cpu("5"), "0/2 nodes are available: 2 Insufficient cpu."},
		{"too little of several", two, nil, "", `{"containers":[{"resources":{"requests":{"cpu":"5","memory":"9Gi","x/y":"1","ephemeral-storage":"1"}}}]}`,
			"0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient ephemeral-storage, 2 Insufficient memory, 2 Insufficient x/y."},
		{"too many pods", func(t *testing.T) []*model.Node {
			return []*model.Node{node(t, "n1", a, "", `{"cpu":"4","memory":"1Gi","pods":"1"}`)}
		}, []placed{{"x", "", cpu("0"), "n1"}}, "", cpu("0"), "0/1 nodes are available: 1 Too many pods."},
		{"selector", two, []placed{{"x", "", cpu("1"), "n1"}}, "", `{"containers":[{}],"nodeSelector":{"zone":"a"}}`, "n1"},
		{"selector of nobody", two, nil, "", `{"containers":[{}],"nodeSelector":{"zone":"c"}}`, "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		{"required node affinity by name", two, nil, "", `{"containers":[{}],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]}]}}}}`, "n2"},
		{"preferred node affinity", two, []placed{{"x", "", cpu("1"), "n1"}}, "", `{"containers":[{}],"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":10,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}}]}}}`, "n1"},
		{"taint", func(t *testing.T) []*model.Node {
			return []*model.Node{node(t, "n1", a, `{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}`, ""), node(t, "n2", b, `{"unschedulable":true}`, "")}
		}, nil, "", cpu("1"), "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."},
		{"toleration", func(t *testing.T) []*model.Node {
			return []*model.Node{node(t, "n1", a, `{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}`, "")}
		}, nil, "", `{"containers":[{}],"tolerations":[{"key":"k","operator":"Equal","value":"v","effect":"NoSchedule"}]}`, "n1"},
		{"a taint to be avoided", func(t *testing.T) []*model.Node {
			return []*model.Node{node(t, "n1", a, `{"taints":[{"key":"k","effect":"PreferNoSchedule"}]}`, ""), node(t, "n2", b, "", "")}
		}, []placed{{"x", "", cpu("2"), "n2"}}, "", cpu("1"), "n2"},
		{"host port taken", two, []placed{{"x", "", `{"containers":[{"ports":[{"hostPort":80}]}]}`, "n1"}, {"y", "", cpu("1"), "n2"}}, "",
			`{"containers":[{"ports":[{"hostPort":80}]}]}`, "n2"},
		{"host port taken everywhere", two, []placed{{"x", "", `{"containers":[{"ports":[{"hostPort":80}]}]}`, "n1"}, {"y", "", `{"containers":[{"ports":[{"hostPort":80,"hostIP":"1.2.3.4"}]}]}`, "n2"}}, "",
			`{"containers":[{"ports":[{"hostPort":80}]}]}`, "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."},
		{"anti-affinity", two, []placed{{"x", `{"app":"a"}`, cpu("0"), "n2"}}, "", antiZone, "n1"},
		{"anti-affinity everywhere", two, []placed{{"x", `{"app":"a"}`, cpu("0"), "n1"}, {"y", `{"app":"a"}`, cpu("0"), "n2"}}, "", antiZone, "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."},
		{"anti-affinity of those that are there", two, []placed{{"x", "", antiZone, "n1"}, {"y", "", antiZone, "n2"}}, `{"app":"a"}`, cpu("0"), "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."},
		{"affinity", two, []placed{{"x", `{"app":"a"}`, cpu("1"), "n1"}}, "", withZone, "n1"},
		{"affinity to nobody", two, nil, "", withZone, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."},
		{"affinity to itself, as the first", two, []placed{{"x", "", cpu("1"), "n1"}}, `{"app":"a"}`, withZone, "n2"},
		{"spread", two, []placed{{"x", `{"app":"a"}`, cpu("0"), "n2"}, {"y", "", cpu("3"), "n1"}}, `{"app":"a"}`, zoneSpread, "n1"},
		{"spread is impossible", func(t *testing.T) []*model.Node {
			return []*model.Node{node(t, "n1", a, "", ""), node(t, "n2", b, `{"unschedulable":true}`, "")}
		}, []placed{{"x", `{"app":"a"}`, cpu("0"), "n1"}}, `{"app":"a"}`, zoneSpread,
			"0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."},
		{"spread needs the label", func(t *testing.T) []*model.Node { return []*model.Node{node(t, "n1", `{}`, "", "")} }, nil, `{"app":"a"}`, zoneSpread,
			"0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."},
		{"a volume claim that nobody knows", two, nil, "", `{"containers":[{}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]}`, `0/2 nodes are available: persistentvolumeclaim "data" not found.`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cache.New()
			for _, n := range tt.nodes(t) {
				c.SetNode(n)
			}
			for _, p := range tt.placed {
				c.Place(pod(t, p.name, p.labels, p.spec).On(p.node))
			}
			got, err := fit.NewChooser(c, 0).Choose(pod(t, "new", tt.labels, tt.spec))
			if err != nil {
				got = err.Error()
				var why *fit.Error
				if !errors.As(err, &why) || why.Cause == 0 {
					t.Errorf("no cause in %#v", err)
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestRankingKeepsUp changes the cluster at random and checks that the ranking of a class
// that was brought up to date step by step chooses what one made afresh chooses.
func TestRankingKeepsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := cache.New()
		kept := fit.NewChooser(c, 0)
		classes := []string{cpu("100m"), cpu("1"), `{"containers":[{}],"nodeSelector":{"zone":"a"}}`}
		name := rapid.SampledFrom([]string{"n0", "n1", "n2", "n3", "n4"})
		uid := rapid.SampledFrom([]string{"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				zone := rapid.SampledFrom([]string{`{"zone":"a"}`, `{"zone":"b"}`}).Draw(rt, "zone")
				size := rapid.SampledFrom([]string{"1", "2", "4"}).Draw(rt, "size")
				c.SetNode(node(t, name.Draw(rt, "node"), zone, "", `{"cpu":"`+size+`","memory":"4Gi","pods":"4"}`))
			case 1:
				c.RemoveNode(name.Draw(rt, "node"))
			case 2:
				spec := rapid.SampledFrom(classes).Draw(rt, "spec")
				c.Place(pod(t, uid.Draw(rt, "pod"), "", spec).On(name.Draw(rt, "node")))
			case 3:
				c.Remove(types.UID(uid.Draw(rt, "pod")))
			case 4:
				spec := rapid.SampledFrom(classes).Draw(rt, "spec")
				p := pod(t, "new", "", spec)
				got, gotErr := kept.Choose(p)
				want, wantErr := fit.NewChooser(c, 0).Choose(p)
				if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
					rt.Fatalf("kept ranking: %q, %v; fresh ranking: %q, %v", got, gotErr, want, wantErr)
				}
				if best, err := bestCandidate(c, kept, p); best != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					rt.Fatalf("best candidate: %q, %v; chosen: %q, %v", best, err, want, wantErr)
				}
			}
		}
	})
}

// bestCandidate chooses among all candidates, the first of equal ones.
func bestCandidate(c *cache.Cache, k *fit.Chooser, p *model.Pod) (best string, _ error) {
	candidates, err := k.Candidates(p)
	var score int64
	for _, at := range candidates {
		if best == "" || at.Score > score {
			best, score = c.Slots()[at.Slot].Name, at.Score
		}
	}
	return best, err
}

func TestCandidatesOfPodsThatDependOnPods(t *testing.T) {
	c := cache.New()
	for _, n := range []string{"n1", "n2", "n3"} {
		c.SetNode(node(t, n, `{"zone":"`+n+`"}`, "", ""))
	}
	c.Place(pod(t, "there", `{"app":"a"}`, cpu("1")).On("n2"))
	k := fit.NewChooser(c, 0)
	p := pod(t, "p", `{"app":"a"}`, antiZone)
	candidates, err := k.Candidates(p)
	if err != nil || len(candidates) != 2 {
		t.Fatalf("candidates %v, %v", candidates, err)
	}
	for _, at := range candidates {
		if c.Slots()[at.Slot].Name == "n2" {
			t.Error("n2 is a candidate")
		}
	}
	err = k.Explain(p, map[string]int{"node(s) cost too much": 2})
	const want = "0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 2 node(s) cost too much."
	var why *fit.Error
	if !errors.As(err, &why) || err.Error() != want || why.Cause != fit.Extension|fit.PodAffinity {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestManyClasses(t *testing.T) {
	c := cache.New()
	c.SetNode(node(t, "n1", `{}`, "", `{"cpu":"1000","memory":"8Gi","pods":"1000"}`))
	chooser := fit.NewChooser(c, 0)
	for i := range 200 {
		if _, err := chooser.Choose(pod(t, "p", "", cpu(fmt.Sprintf("%dm", i+1)))); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, tt := range []struct{ name, labels, spec string }{
		{"simple", "", cpu("100m")},
		{"spread", `{"app":"a"}`, zoneSpread},
	} {
		b.Run(tt.name, func(b *testing.B) {
			c := cache.New()
			for i := range 1000 {
				c.SetNode(node(b, fmt.Sprint("n", i), fmt.Sprintf(`{"zone":"z%d"}`, i%3), "", `{"cpu":"32","memory":"256Gi","pods":"100000"}`))
			}
			chooser := fit.NewChooser(c, 0)
			p := pod(b, "p", tt.labels, tt.spec)
			i := 0
			for b.Loop() {
				n, err := chooser.Choose(p)
				if err != nil {
					b.Fatal(err)
				}
				on := p.On(n)
				on.UID = types.UID(fmt.Sprint(i % 5000))
				i++
				c.Assume(on)
			}
		})
	}
}
