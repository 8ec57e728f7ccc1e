package main

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// The suite of plugintest holds the plugin to what every host relies on.
func TestSchedulingContract(t *testing.T) {
	plugintest.RunScheduling(t, plugintest.SchedulingCase{
		Case: plugintest.Case{BadSettings: map[string]string{`{"label":""}`: "settings.label", `{"labels":"x"}`: "settings.labels"}},
		New:  func() scheduling.Extension { return &Plugin{} },
	})
}

func TestScore(t *testing.T) {
	p := &Plugin{}
	if err := p.Configure(t.Context(), []byte(`{"label":"price"}`)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		prices []string
		want   []int64
	}{
		{"three prices", []string{"1", "3", "2"}, []int64{100, 0, 50}},
		{"one price", []string{"2.5", "2.5"}, []int64{100, 100}},
		{"one is not known", []string{"1", "", "2"}, []int64{100, 0, 0}},
		{"none is a price", []string{"", "cheap", "NaN", "Inf"}, []int64{0, 0, 0, 0}},
		{"no node", nil, []int64{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var nodes []*scheduling.Node
			for _, price := range tc.prices {
				nodes = append(nodes, &scheduling.Node{Labels: map[string]string{"price": price}})
			}
			got, err := p.Score(t.Context(), &corev1.Pod{}, nodes)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}
