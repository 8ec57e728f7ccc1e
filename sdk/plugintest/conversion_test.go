package plugintest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// wheels have two versions: v2 counts what v1 calls teeth.
type wheels struct{ gears }

func (w wheels) Definitions() ([]*crd.Definition, error) {
	defs, err := w.gears.Definitions()
	for _, d := range defs {
		next := d.Versions[0]
		next.Name, next.Storage = "v2", false
		d.Versions = append(d.Versions, next)
	}
	return defs, err
}

func (wheels) Hooks(schema.GroupResource) any { return wheelHooks{} }

type wheelHooks struct{}

func (wheelHooks) Convert(_ context.Context, o map[string]any, to string) error {
	if specOf(o)["note"] == "rusty" {
		return errors.New("it does not turn")
	}
	specOf(o)["note"] = "as " + to
	return nil
}

func TestConversionOnTheWire(t *testing.T) {
	h := plugintest.Start(t, wheels{})
	b := remote.NewBundle("wheels", plugintest.Patience)
	if _, _, err := b.Attach(t.Context(), h.Client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Detach)
	convert := resource.Conversion(b.Hooks(gearsGR))
	if convert == nil {
		t.Fatal("the host is not told that there is a converter")
	}
	if direct := resource.Conversion(gearHooks{}); direct != nil {
		t.Error("a type without a converter has one")
	}
	if _, gearsBundle := attach(t); resource.Conversion(gearsBundle.Hooks(gearsGR)) != nil {
		t.Error("a type without a converter has one behind gRPC")
	}
	// More than fits into one call, and one that is larger than such a call.
	var many []map[string]any
	for i := range 100 {
		size := 40_000
		if i == 50 {
			size = 1_500_000
		}
		many = append(many, gear(map[string]any{"twin": strings.Repeat("x", size), "teeth": int64(i)}))
	}
	if err := convert(t.Context(), many, "v2"); err != nil {
		t.Fatal(err)
	}
	for i, o := range many {
		if o["apiVersion"] != "example.dev/v2" || specOf(o)["note"] != "as v2" || fmt.Sprint(specOf(o)["teeth"]) != fmt.Sprint(i) {
			t.Fatalf("object %d: %v, %v, %v", i, o["apiVersion"], specOf(o)["note"], specOf(o)["teeth"])
		}
	}
	err := convert(t.Context(), []map[string]any{gear(map[string]any{"note": "rusty"})}, "v2")
	if err == nil || !strings.Contains(err.Error(), `convert Gear "g" from v1 to v2: it does not turn`) {
		t.Errorf("got %v", err)
	}
	h.Kill()
	if err := convert(t.Context(), []map[string]any{gear(map[string]any{})}, "v2"); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("of a plugin that is away: %v", err)
	}
}
