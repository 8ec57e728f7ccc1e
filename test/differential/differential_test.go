package differential

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/test/golden"
)

// record writes down what a kube-apiserver answers, before answers are compared with it.
var record = flag.String("record", "", "kubeconfig of a kube-apiserver to take answers from")

func TestAnswersAreUpstreams(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var peer server
	if *record != "" {
		peer = upstream(t, *record)
	}
	var different map[string][]difference
	golden.Load(t, "differences.yaml", &different)
	ours := pintle(t)
	total := 0
	for _, file := range files {
		topic := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if strings.HasSuffix(topic, ".expected") || topic == "differences" {
			continue
		}
		var requests []request
		golden.Load(t, topic+".yaml", &requests)
		total += len(requests)
		t.Run(topic, func(t *testing.T) {
			if *record != "" {
				golden.Save(t, topic+".expected.yaml", run(t, peer, requests))
			}
			var want []answer
			golden.Load(t, topic+".expected.yaml", &want)
			if len(want) != len(requests) {
				t.Fatalf("%d requests, and %d answers to compare with: record them", len(requests), len(want))
			}
			got := run(t, ours, requests)
			for i := range requests {
				compare(t, i, requests[i], known(different[topic], i), want[i], got[i])
			}
		})
	}
	t.Logf("%d requests", total)
}

// run sends a topic's requests in a namespace made for it.
func run(tb testing.TB, on server, requests []request) []answer {
	tb.Helper()
	s := &session{server: on, namespace: fmt.Sprintf("differential-%06x", rand.N(1<<24)), kept: map[string]string{}}
	made := s.send(tb, request{Do: "POST /api/v1/namespaces", Body: map[string]any{"metadata": map[string]any{"name": "${ns}"}}})
	if made.Code != http.StatusCreated {
		tb.Fatalf("make a namespace: %+v", made)
	}
	defer func() {
		// No controller empties it there.
		for _, r := range [...]string{"/api/v1/namespaces/${ns}/configmaps", "/apis/apps/v1/namespaces/${ns}/deployments", "/api/v1/namespaces/${ns}/pods"} {
			s.send(tb, request{Do: "DELETE " + r})
		}
		s.send(tb, request{Do: "DELETE /api/v1/namespaces/${ns}"})
		s.send(tb, request{Do: "PUT /api/v1/namespaces/${ns}/finalize", Body: map[string]any{"metadata": map[string]any{"name": "${ns}"}}})
	}()
	out := make([]answer, len(requests))
	var reads sync.WaitGroup
	for i, r := range requests {
		if r.Keep == nil && strings.Contains(r.Do, "timeoutSeconds=") {
			// Watches last a second, each.
			reads.Go(func() { out[i] = s.send(tb, r) })
			continue
		}
		reads.Wait()
		out[i] = s.send(tb, r)
	}
	reads.Wait()
	return out
}

func known(all []difference, n int) *difference {
	for i := range all {
		if all[i].At == n {
			return &all[i]
		}
	}
	return nil
}

func compare(t *testing.T, n int, r request, d *difference, want, got answer) {
	t.Helper()
	title := r.Do
	if r.Accept != "" {
		title += " Accept: " + r.Accept
	}
	if want.Do != r.Do {
		t.Errorf("%s: the answer to compare with is of %s: record anew", title, want.Do)
		return
	}
	// Numbers are compared as YAML has them.
	got = reread(t, got)
	if r.BodyDiffers != "" {
		want.Body, got.Body = nil, nil
	}
	if d != nil {
		switch {
		case d.Do != r.Do:
			t.Errorf("#%d %s: the known difference is one of %s", n, title, d.Do)
		case reflect.DeepEqual(want, got):
			t.Errorf("#%d %s: is answered as upstream does, but is said to differ: %s", n, title, d.Why)
		case got.Code != d.Code:
			t.Errorf("#%d %s: code %d, want %d; %v", n, title, got.Code, d.Code, got.Body)
		}
		return
	}
	var lines []string
	if want.Code != got.Code {
		lines = append(lines, fmt.Sprintf("code: %d, ours %d", want.Code, got.Code))
	}
	for _, h := range compared {
		if !slices.Equal(want.Headers[h], got.Headers[h]) {
			lines = append(lines, fmt.Sprintf("%s: %q, ours %q", h, want.Headers[h], got.Headers[h]))
		}
	}
	if lines = append(lines, differences("", want.Body, got.Body)...); len(lines) > 0 {
		t.Errorf("#%d %s\n\t%s", n, title, strings.Join(lines, "\n\t"))
	}
}

// differences are the values that upstream's and our body do not have in common, by path.
func differences(path string, want, got any) []string {
	var out []string
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		keys := slices.Collect(maps.Keys(w))
		for k := range g {
			if _, ok := w[k]; !ok {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			out = append(out, differences(path+"."+k, w[k], g[k])...)
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			out = append(out, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return out
	}
	if !reflect.DeepEqual(want, got) {
		out = append(out, fmt.Sprintf("%s: %v\n\t\tours %v", path, want, got))
	}
	return out
}

func reread(tb testing.TB, a answer) answer {
	tb.Helper()
	raw, err := yaml.Marshal(a)
	if err != nil {
		tb.Fatal(err)
	}
	var out answer
	if err := yaml.Unmarshal(raw, &out); err != nil {
		tb.Fatal(err)
	}
	return out
}
