package main

import (
	"fmt"
	"os"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

func node(name, price string) *scheduling.Node {
	return &scheduling.Node{Name: name, Labels: map[string]string{"example.dev/price": price}}
}

func pod(name string, annotations map[string]string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Annotations: annotations}}
}

func configured(t *testing.T) *cheapest {
	t.Helper()
	c := newPlugin()
	settings := `{"label":"example.dev/price","default":1,"maxLabel":"example.dev/max-price"}`
	if err := c.Configure(t.Context(), []byte(settings)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContract(t *testing.T) {
	plugintest.RunScheduling(t, plugintest.SchedulingCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"default":-1}`: "settings.default",
			`{"lable":"x"}`:  "lable",
		}},
		New: func() scheduling.Extension { return newPlugin() },
		Pods: []*v1.Pod{
			pod("any", nil),
			pod("thrifty", map[string]string{"example.dev/max-price": "2"}),
			pod("poor", map[string]string{"example.dev/max-price": "0"}),
		},
		Nodes:   []*scheduling.Node{node("a", "1"), node("b", "2.5"), node("c", "10"), {Name: "d"}},
		Refused: []string{"poor"},
	})
}

func TestScore(t *testing.T) {
	for _, tc := range []struct {
		name   string
		prices []string
		want   []int64
	}{
		{"in proportion", []string{"1", "3", "2"}, []int64{100, 0, 50}},
		{"all the same", []string{"3", "3"}, []int64{100, 100}},
		{"no price", []string{"dear", "3"}, []int64{100, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var nodes []*scheduling.Node
			for _, p := range tc.prices {
				nodes = append(nodes, node("n", p))
			}
			got, err := configured(t).Score(t.Context(), pod("p", nil), nodes)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

// TestManifest holds plugin.yaml to what the plugin says when it runs.
func TestManifest(t *testing.T) {
	raw, err := os.ReadFile(manifest.FileName)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if info := newPlugin().Info(); m.Name != info.Name || m.Version != info.Version {
		t.Errorf("the manifest is of %s %s, the plugin is %s %s", m.Name, m.Version, info.Name, info.Version)
	}
}
