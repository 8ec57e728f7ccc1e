// Package golden reads and writes the files of testdata in which suites keep what a
// kube-apiserver has answered, to compare with.
package golden

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Load reads a YAML file of testdata.
func Load(tb testing.TB, name string, into any) {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(raw, into); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
}

// Save writes one.
func Save(tb testing.TB, name string, v any) {
	tb.Helper()
	raw, err := yaml.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name), raw, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// SortValues sorts the values that a message says are supported: some lists of a
// kube-apiserver have an order of their own.
func SortValues(message string) string {
	head, list, ok := strings.Cut(message, "supported values: ")
	if !ok {
		return message
	}
	values := strings.Split(list, ", ")
	slices.Sort(values)
	return head + "supported values: " + strings.Join(values, ", ")
}
