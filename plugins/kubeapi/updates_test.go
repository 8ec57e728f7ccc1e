package kubeapi_test

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/test/golden"
)

// TestUpdates compares what kube-apiserver says to changes of objects: refusals, and what
// is allowed.
func TestUpdates(t *testing.T) {
	files, err := filepath.Glob("testdata/updates/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".expected.yaml") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			var s suite
			golden.Load(t, "updates/"+name+".yaml", &s)
			if *record != "" {
				recordUpdates(t, name, &s)
			}
			expected := map[string][]string{}
			golden.Load(t, "updates/"+name+".expected.yaml", &expected)
			old := s.object(t, "")
			if err := submit(t, old); err != nil {
				t.Fatalf("the base is refused: %v", err)
			}
			for _, c := range slices.Sorted(maps.Keys(s.Cases)) {
				t.Run(c, func(t *testing.T) {
					raw, err := json.Marshal(old)
					if err != nil {
						t.Fatal(err)
					}
					if raw, err = jsonpatch.MergePatch(raw, s.patch(t, c)); err != nil {
						t.Fatal(err)
					}
					changed := parse(t, string(raw))
					typ := typeOf(t, old)
					r := newRequest(typ, changed, clone(t, old), "")
					r.Object["status"] = r.Old["status"]
					got := verdict(write(t, typ, r))
					if !slices.Equal(got, expected[c]) {
						t.Errorf("answered with\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(expected[c], "\n\t"))
					}
				})
			}
		})
	}
}

func (s *suite) patch(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := yaml.Marshal(s.Cases[name])
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = yaml.YAMLToJSON(raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

func recordUpdates(t *testing.T, name string, s *suite) {
	t.Helper()
	ctx, p := context.Background(), newPeer(t)
	o := s.object(t, "")
	resources, zero := p.on(typeOf(t, o)), int64(0)
	id := o["metadata"].(map[string]any)["name"].(string)
	remove := func() { _ = resources.Delete(ctx, id, metav1.DeleteOptions{GracePeriodSeconds: &zero}) }
	remove()
	defer remove()
	if _, err := resources.Create(ctx, &unstructured.Unstructured{Object: o}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expected := map[string][]string{}
	for c := range s.Cases {
		_, err := resources.Patch(ctx, id, types.MergePatchType, s.patch(t, c), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		expected[c] = verdict(err)
	}
	golden.Save(t, "updates/"+name+".expected.yaml", expected)
}
