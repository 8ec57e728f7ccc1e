package host_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/peers"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// testCaller wraps a key by another plugin, and writes down what became of it.
type testCaller struct{ base }

func (c *testCaller) Run(ctx context.Context, env plugin.Env) error {
	outcome := "wrapped"
	if err := c.wrap(ctx, env); err != nil {
		outcome = err.Error()
	}
	if err := os.WriteFile(filepath.Join(env.Dir, "outcome"), []byte(outcome), 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *testCaller) wrap(ctx context.Context, env plugin.Env) error {
	p, err := peers.Connect(env)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	client, err := remote.Connect(ctx, p.Conn("keys"), "")
	if err != nil {
		return err
	}
	keys, _ := client.KeyManager()
	_, err = keys.Wrap(ctx, []byte("key"))
	return err
}

// A third party's plugin calls others as far as its manifest asks for it and somebody grants it.
func TestUsesAreAskedForAndGranted(t *testing.T) {
	tweak := fetched(t, manifest.Manifest{Name: "caller", Version: "1.2.3", Uses: []string{"keymanager", "cloud"}})
	caller := func(uses ...protocol.Point) host.Spec {
		s := wished("caller")
		s.Args[1], s.Uses = "caller", uses
		return s
	}
	r := start(t, tweak, spec(t, "keys", "keys"), caller())
	outcome := func(want string) {
		t.Helper()
		eventually(t, patience, want, func() bool {
			raw, _ := os.ReadFile(filepath.Join(r.dir, "plugins", "caller", "outcome"))
			return strings.Contains(string(raw), want)
		})
	}
	r.wait(t, "keys", healthy)
	st := r.wait(t, "caller", healthy)
	if c, _ := st.Condition(host.ConditionGranted); c.Status || !strings.Contains(c.Message, "to call points [keymanager cloud] of other plugins") {
		t.Errorf("condition: %+v", c)
	}
	outcome("was given no way to other plugins")
	// What is granted and not asked for is not given.
	if err := r.Change(caller("keymanager", "scheduling")); err != nil {
		t.Fatal(err)
	}
	st = r.wait(t, "caller", func(st host.Status) bool { return len(st.PendingUses) == 1 && upgraded("Proven")(st) })
	if !slices.Equal(st.Uses, []protocol.Point{"keymanager"}) || !slices.Equal(st.PendingUses, []protocol.Point{"cloud"}) || st.Restarts != 0 {
		t.Errorf("uses %v, pending %v, restarts %d", st.Uses, st.PendingUses, st.Restarts)
	}
	outcome("wrapped")
	all := caller("keymanager", "scheduling")
	all.Grant = true
	if err := r.Change(all); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "caller", func(st host.Status) bool { return len(st.Uses) == 2 && len(st.PendingUses) == 0 })
}

// lists is a Reader of Plugin objects.
type lists struct {
	resource.Reader
	objects []map[string]any
}

func (l lists) List(context.Context, schema.GroupResource, string) ([]map[string]any, error) {
	return l.objects, nil
}

func TestWhatOthersRequireStays(t *testing.T) {
	plugin := func(name string, spec tree, requires ...string) map[string]any {
		o := pluginObject(name, nil, spec)
		var list []any
		for _, r := range requires {
			list = append(list, tree{"plugin": r})
		}
		o["status"] = tree{"requires": list}
		return o
	}
	going := plugin("going", tree{}, "back")
	going["metadata"].(tree)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	all := lists{objects: []map[string]any{
		plugin("back", tree{}), plugin("front", tree{}, "back"), plugin("off", tree{"disabled": true}, "back"), going,
		plugin("chicken", tree{}, "egg"), plugin("egg", tree{}, "chicken"), plugin("top.node-1", tree{"plugin": "top"}, "front"),
	}}
	types := hooks(&host.Types{})
	for name, c := range map[string]struct {
		plugin string
		force  bool
		want   string
	}{
		"one that is required":                  {"back", false, "front requires it: remove that first, or leave them without it by the annotation core.pintle.dev/dependents=Ignore (`pintle plugin remove back --force`)"},
		"one that a node's requires":            {"front", false, "top requires it"},
		"one that nobody requires":              {"top", false, ""},
		"one of a cycle, of which nothing runs": {"egg", false, ""},
		"one that is required, by force":        {"back", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			old, object := pluginObject(c.plugin, nil, tree{}), pluginObject(c.plugin, nil, tree{"disabled": true})
			if c.force {
				for _, o := range []tree{old, object} {
					o["metadata"].(tree)["annotations"] = tree{host.DependentsAnnotation: host.DependentsIgnore}
				}
			}
			_, err := types.(resource.Deleter).GracePeriod(t.Context(), &resource.Request{Operation: resource.Delete, Name: c.plugin, Old: old, Reader: all}, nil)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("deletion: %v", err)
			}
			errs := types.(resource.Validator).Validate(t.Context(), &resource.Request{Operation: resource.Update, Name: c.plugin, Old: old, Object: object, Reader: all})
			refused := false
			for _, e := range errs {
				refused = refused || e.Field == "spec.disabled"
			}
			if refused != (c.want != "") {
				t.Errorf("disabling: %v", errs)
			}
		})
	}
}
