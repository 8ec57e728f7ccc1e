package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// pipesOf counts the ends of pipes that a process has.
func pipesOf(t *testing.T, pid int) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Skip("a plugin's files can't be seen: ", err)
	}
	n := 0
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// Hooks go over a line where the plugin has one, also where it is confined, and over gRPC else. Nobody
// can tell by what they do.
func TestHooksGoOverALineWhereThePluginHasOne(t *testing.T) {
	exe, without := self(t), 0
	for _, c := range []struct {
		name string
		spec host.Spec
		line bool
	}{
		{"no lines", spec(t, "types-over-grpc", "widgets"), false},
		{"first party", spec(t, "types", "widgets"), true},
		{"third party", host.Spec{Name: "widgets", Path: exe, SHA256: sumOf(t, exe), Args: []string{"plugin", "types", "widgets"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bundles := make(chan resource.Bundle, 1)
			r := start(t, func(c *host.Config) {
				c.OnBundle = func(_ string, b resource.Bundle) error { bundles <- b; return nil }
			}, c.spec)
			pid := r.wait(t, "widgets", healthy).PID
			validator := (<-bundles).Hooks(widgets).(resource.Validator)
			validate := func(name string) error {
				req := &resource.Request{Operation: resource.Create, Name: name, Object: map[string]any{"spec": map[string]any{}}}
				return validator.Validate(context.Background(), req).ToAggregate()
			}
			if err := validate("good"); err != nil {
				t.Error(err)
			}
			if err := validate("bad"); err == nil || !strings.Contains(err.Error(), "must not be negative") {
				t.Errorf("bad: %v", err)
			}
			// A line is two pipes more than gRPC alone.
			if got := pipesOf(t, pid); !c.line {
				without = got
			} else if got != without+2 {
				t.Errorf("it has %d pipes, %d without a line", got, without)
			}
			if err := validate("die"); err == nil || !strings.Contains(err.Error(), "stopped while it was handling") {
				t.Errorf("during its death: %v", err)
			}
			r.wait(t, "widgets", healthyAgain(1))
			if err := validate("good"); err != nil {
				t.Errorf("after its death: %v", err)
			}
		})
	}
}
