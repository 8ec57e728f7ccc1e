package clients

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// explained is what kubectl explains of the API of kube-apiserver, by command line.
const explained = "testdata/kubectl/explain.txt.gz"

// Kinds whose recursive explanations are compared without -all: large ones with all that
// schemas may say.
var someKinds = []string{"pods", "horizontalpodautoscalers", "resourceslices"}

// Kinds that are not compared, with the reason.
var explainedOtherwise = map[string]string{
	"apiservices":               "its schema is Pintle's own, with the same fields in other words",
	"customresourcedefinitions": "kubectl goes a level deeper into the schema of schemas, which contains itself",
}

// notOffered are kinds of upstream's that Pintle does not have: upstream has deprecated
// them for years.
var notOffered = regexp.MustCompile(`(?m)^(bindings|componentstatuses) .*\n`)

// TestKubectlExplains compares the list of resources, and the explanation of kinds to any
// depth, with what kubectl says of kube-apiserver.
func TestKubectlExplains(t *testing.T) {
	known := map[string]string{}
	if *peer == "" {
		known = loadExplained(t)
	}
	withKubectls(t, func(t *testing.T, k kubectl, c cluster) {
		s := newShell(t, k, c, "default")
		resources := regexp.MustCompile(`(?m)^.*(pintle\.dev|example)/.*\n`).ReplaceAllString(s.run(t, "kubectl api-resources --no-headers"), "")
		// Columns are as wide as what stands in them.
		narrow := func(text string) string { return regexp.MustCompile(`(\S) {2,}`).ReplaceAllString(text, "$1  ") }
		resources = narrow(notOffered.ReplaceAllString(resources, ""))
		var mu sync.Mutex
		explain := func(t *testing.T, line string) string {
			got := s.run(t, line)
			mu.Lock()
			defer mu.Unlock()
			if c.recording {
				known[line] = got
			} else if got != known[line] {
				t.Errorf("%s:\n%s", line, s.difference(t, known[line], got))
			}
			return got
		}
		explain(t, "kubectl api-versions | grep -v -e pintle.dev -e example")
		mu.Lock()
		if c.recording {
			known["kubectl api-resources"] = resources
		} else if want := narrow(known["kubectl api-resources"]); resources != want {
			t.Errorf("kubectl api-resources:\n%s", s.difference(t, want, resources))
		}
		mu.Unlock()
		t.Run("kinds", func(t *testing.T) {
			for line := range strings.Lines(resources) {
				words := strings.Fields(line)
				name, version := words[0], words[len(words)-3]
				if !*all && !slices.Contains(someKinds, name) {
					continue
				}
				t.Run(name+"."+version, func(t *testing.T) {
					if why := explainedOtherwise[name]; why != "" && !c.recording {
						t.Skip(why)
					}
					t.Parallel()
					explain(t, "kubectl explain "+name+" --api-version="+version+" --recursive")
					if !*all {
						return
					}
					top := explain(t, "kubectl explain "+name+" --api-version="+version)
					for _, field := range regexp.MustCompile(`(?m)^  (\w+)\t`).FindAllStringSubmatch(top, -1) {
						explain(t, "kubectl explain "+name+"."+field[1]+" --api-version="+version)
					}
				})
			}
		})
	})
	if *peer != "" && *all && !t.Failed() {
		saveExplained(t, known)
	}
}

const between = "\n\x00\n"

func loadExplained(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(explained)
	if err != nil {
		t.Fatalf("%v (record it with -peer and -all)", err)
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for part := range strings.SplitSeq(string(text), between) {
		line, answer, _ := strings.Cut(part, "\n")
		out[strings.TrimPrefix(line, "$ ")] = answer
	}
	return out
}

func saveExplained(t *testing.T, known map[string]string) {
	t.Helper()
	var parts []string
	for _, line := range slices.Sorted(maps.Keys(known)) {
		parts = append(parts, "$ "+line+"\n"+known[line])
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(strings.Join(parts, between)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, explained, b.String())
}
