package plugintest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/scheduler"
)

type base struct{}

func (base) Info() plugin.Info {
	return plugin.Info{Name: "test", Version: "1", Permissions: []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"a"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz"}},
	}}
}

func (base) ConfigSchema() []byte {
	return []byte(`{"type":"object","properties":{"workers":{"type":"integer","minimum":1}}}`)
}

func (base) Configure(context.Context, []byte) error { return nil }

type loop struct{ base }

func (loop) Run(ctx context.Context, env plugin.Env) error {
	if env.Config == nil || env.Config.Dial == nil || env.Config.BearerToken != "test" || env.Log == nil || env.Dir == "" || env.Node != "test-node" {
		return fmt.Errorf("environment is not whole: %+v", env)
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestController(t *testing.T) {
	plugintest.RunController(t, plugintest.ControllerCase{
		Case: plugintest.Case{BadSettings: map[string]string{
			`{"workers":0}`: "settings.workers", `{"x":0}`: "settings.x",
		}},
		New: func() controller.Controller { return loop{} },
	})
}

type binder struct{ base }

func (binder) SchedulerNames() []string { return []string{"default-scheduler"} }
func (binder) Schedule(ctx context.Context, env plugin.Env) error {
	return loop{}.Run(ctx, env)
}

func TestScheduler(t *testing.T) {
	plugintest.RunScheduler(t, plugintest.SchedulerCase{New: func() scheduler.Scheduler { return binder{} }})
}

type failing struct{ base }

func (failing) Run(context.Context, plugin.Env) error { return errors.New("no more") }

func TestRunErrorReachesTheHost(t *testing.T) {
	h := plugintest.Start(t, failing{})
	c, _ := h.Client.Controller()
	if err := c.Run(t.Context(), plugin.Env{}); err == nil || err.Error() != "no more" {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWithTheConnection(t *testing.T) {
	h := plugintest.Start(t, loop{})
	c, _ := h.Client.Controller()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context(), plugin.Env{}) }()
	<-h.Client.Running()
	h.Kill()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("got %v", err)
	}
}

type wires struct {
	base
	mu       sync.Mutex
	attached map[string]network.Pod
	life     context.Context
}

func (w *wires) Setup(ctx context.Context, _ plugin.Env, n network.Node) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = ctx
	if len(n.PodCIDRs) != 1 {
		return errors.New("no pod CIDR")
	}
	return nil
}

func (w *wires) Attach(_ context.Context, p network.Pod) (network.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life == nil || w.life.Err() != nil {
		return network.Result{}, errors.New("the background work's context has ended with Setup")
	}
	if len(p.Ports) != 1 || p.Ports[0].HostPort != 80 || p.Annotations["a"] != "b" || p.NetNS != "/ns" {
		return network.Result{}, fmt.Errorf("pod is not whole: %+v", p)
	}
	if w.attached == nil {
		w.attached = map[string]network.Pod{}
	}
	w.attached[p.SandboxID] = p
	return network.Result{IPs: []string{"10.0.0.2", "fd00::2"}, Interface: "eth0"}, nil
}

func (w *wires) Detach(_ context.Context, p network.Pod) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.attached, p.SandboxID)
	return nil
}

func (w *wires) Check(_ context.Context, p network.Pod) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.attached[p.SandboxID]; !ok {
		return errors.New("not attached")
	}
	return nil
}

func (w *wires) Teardown(context.Context) error { return nil }

func TestNetwork(t *testing.T) {
	w := &wires{}
	plugintest.RunNetwork(t, plugintest.NetworkCase{
		New:  func() network.Network { return w },
		Node: network.Node{Name: "n", PodCIDRs: []string{"10.0.0.0/24"}},
		Pod: func(testing.TB) network.Pod {
			return network.Pod{
				Namespace: "ns", Name: "p", UID: "u", SandboxID: "s", NetNS: "/ns",
				Ports:       []network.PortMapping{{HostPort: 80, ContainerPort: 8080, Protocol: "TCP"}},
				Annotations: map[string]string{"a": "b"},
			}
		},
	})
	if w.life.Err() == nil {
		t.Error("Teardown left the background work's context")
	}
}

// gears is a type with every hook.
type gears struct{ base }

var gearsGR = schema.GroupResource{Group: "example.dev", Resource: "gears"}

func (gears) Definitions() ([]*crd.Definition, error) {
	shared := &crdschema.Components{Get: func(name string) *crdschema.Schema {
		if name != "teeth" {
			return nil
		}
		return &crdschema.Schema{Type: "integer", Format: "int64", Maximum: new(100.0)}
	}}
	return []*crd.Definition{{
		Group: "example.dev", Scope: crd.NamespaceScoped,
		Names: crd.Names{Plural: "gears", Singular: "gear", Kind: "Gear", ListKind: "GearList"},
		Versions: []crd.Version{{
			Name: "v1", Served: true, Storage: true,
			Columns: []crd.Column{{Name: "Teeth", Type: "integer"}},
			Schema: func() (*crdschema.Schema, error) {
				return &crdschema.Schema{Type: "object", Root: shared, Properties: map[string]*crdschema.Schema{
					"spec": {Type: "object", Properties: map[string]*crdschema.Schema{
						"teeth": {Ref: "teeth"}, "ratio": {Type: "number"}, "twin": {Type: "string"},
						"note": {Type: "string"},
					}},
				}}, nil
			},
		}},
	}}, nil
}

func (gears) Hooks(gr schema.GroupResource) any {
	if gr == gearsGR {
		return gearHooks{}
	}
	return nil
}

type gearHooks struct{}

func specOf(tree map[string]any) map[string]any {
	s, _ := tree["spec"].(map[string]any)
	if s == nil {
		s = map[string]any{}
		tree["spec"] = s
	}
	return s
}

func (gearHooks) Default(_ context.Context, r *resource.Request) error {
	if s := specOf(r.Object); s["teeth"] == nil {
		s["teeth"] = int64(12)
	}
	return nil
}

func (gearHooks) Prepare(ctx context.Context, r *resource.Request) error {
	s := specOf(r.Object)
	r.Warnings = append(r.Warnings, "gears turn")
	if s["note"] == "forbidden" {
		return apierrors.NewForbidden(gearsGR, r.Name, errors.New("spec.note says so"))
	}
	if twin, ok := s["twin"].(string); ok {
		other, err := r.Reader.Get(ctx, gearsGR, r.Namespace, twin)
		if err != nil || other == nil {
			return fmt.Errorf("spec.twin: no gear %s (%w)", twin, err)
		}
		s["note"] = "twin has " + fmt.Sprint(specOf(other)["teeth"])
	}
	return nil
}

func (gearHooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	teeth, ok := specOf(r.Object)["teeth"].(int64)
	if !ok || teeth < 3 {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "teeth"), teeth, "a gear has at least 3")}
	}
	return nil
}

func (gearHooks) GracePeriod(_ context.Context, _ *resource.Request, asked *int64) (int64, error) {
	if asked == nil {
		return 30, nil
	}
	return *asked * 2, nil
}

func (gearHooks) CreateSubresource(_ context.Context, r *resource.Request, parent map[string]any) (resource.SubresourceResult, error) {
	specOf(parent)["note"] = r.Object["turn"]
	return resource.SubresourceResult{Delete: true, Response: map[string]any{"done": true}, DeleteOptions: map[string]any{"gracePeriodSeconds": int64(5)}}, nil
}

func (gearHooks) CreateVirtual(_ context.Context, r *resource.Request) (map[string]any, error) {
	return map[string]any{"user": r.User.Name, "extra": r.User.Extra["k"][0]}, nil
}

func (gearHooks) Cells(object map[string]any) []any { return []any{specOf(object)["teeth"]} }

// shelf is a reader with one gear on it.
type shelf struct{}

func (shelf) Get(_ context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	if gr != gearsGR || namespace != "ns" || name != "big" {
		return nil, nil
	}
	return map[string]any{"spec": map[string]any{"teeth": int64(99)}}, nil
}

func (s shelf) List(ctx context.Context, gr schema.GroupResource, namespace string) ([]map[string]any, error) {
	o, err := s.Get(ctx, gr, namespace, "big")
	return []map[string]any{o}, err
}

func gear(spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "example.dev/v1", "kind": "Gear",
		"metadata": map[string]any{"name": "g", "namespace": "ns"}, "spec": spec,
	}
}

func TestResource(t *testing.T) {
	plugintest.RunResource(t, plugintest.ResourceCase{
		New:    func() plugintest.Bundle { return gears{} },
		Reader: shelf{},
		Valid: []map[string]any{
			gear(map[string]any{}), gear(map[string]any{"teeth": int64(7), "ratio": 0.5}),
			gear(map[string]any{"twin": "big"}),
		},
		Invalid: map[string]map[string]any{
			"spec.teeth": gear(map[string]any{"teeth": int64(1)}),
			"spec.wheel": gear(map[string]any{"wheel": "unknown"}),
			"spec.note":  gear(map[string]any{"note": "forbidden"}),
			"spec.twin":  gear(map[string]any{"twin": "small"}),
			"100":        gear(map[string]any{"teeth": int64(101)}),
		},
	})
}

func attach(t *testing.T) (*plugintest.Harness, *remote.Bundle) {
	t.Helper()
	h := plugintest.Start(t, gears{})
	b := remote.NewBundle("gears", plugintest.Patience)
	if _, _, err := b.Attach(t.Context(), h.Client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Detach)
	return h, b
}

func TestHooksKeepTheirMeaningOnTheWire(t *testing.T) {
	_, b := attach(t)
	hooks := b.Hooks(gearsGR)
	ctx := t.Context()

	r := &resource.Request{Object: gear(map[string]any{"note": "forbidden"}), Name: "g"}
	if err := hooks.(resource.Preparer).Prepare(ctx, r); !apierrors.IsForbidden(err) {
		t.Errorf("a status error lost its reason: %v", err)
	}
	r = &resource.Request{Object: gear(map[string]any{}), Name: "g"}
	object := r.Object
	if err := hooks.(resource.Defaulter).Default(ctx, r); err != nil || specOf(object)["teeth"] != int64(12) {
		t.Errorf("the object was not changed in place: %v, %v", object, err)
	}
	if err := hooks.(resource.Preparer).Prepare(ctx, r); err != nil || len(r.Warnings) != 1 {
		t.Errorf("warnings: %v, %v", r.Warnings, err)
	}
	asked := int64(4)
	for want, in := range map[int64]*int64{30: nil, 8: &asked} {
		if got, err := hooks.(resource.Deleter).GracePeriod(ctx, &resource.Request{}, in); err != nil || got != want {
			t.Errorf("grace period: %d, %v", got, err)
		}
	}
	parent := gear(map[string]any{})
	res, err := hooks.(resource.Subresourcer).CreateSubresource(ctx,
		&resource.Request{Subresource: "turn", Object: map[string]any{"turn": "left"}}, parent)
	if err != nil || !res.Delete || res.Response["done"] != true || res.DeleteOptions["gracePeriodSeconds"] != int64(5) || specOf(parent)["note"] != "left" {
		t.Errorf("subresource: %+v, %v, %v", res, parent, err)
	}
	answer, err := hooks.(resource.Virtual).CreateVirtual(ctx, &resource.Request{
		Object: map[string]any{}, User: resource.User{Name: "u", Extra: map[string][]string{"k": {"v"}}},
	})
	if err != nil || answer["user"] != "u" || answer["extra"] != "v" {
		t.Errorf("virtual: %v, %v", answer, err)
	}
	if cells := hooks.(resource.Printer).Cells(gear(map[string]any{"teeth": int64(7)})); len(cells) != 1 || fmt.Sprint(cells[0]) != "7" {
		t.Errorf("cells: %v", cells)
	}
	if b.Hooks(schema.GroupResource{Resource: "pods"}) != nil {
		t.Error("hooks for a type that is not the plugin's")
	}
}

func TestManyHooksAtOnce(t *testing.T) {
	_, b := attach(t)
	prepare := b.Hooks(gearsGR).(resource.Preparer)
	var all sync.WaitGroup
	for i := range 500 { // more than run at a time, all of them reading
		all.Go(func() {
			r := &resource.Request{Namespace: "ns", Reader: shelf{}, Object: gear(map[string]any{"twin": "big", "ratio": float64(i) + 0.5})}
			if err := prepare.Prepare(t.Context(), r); err != nil || specOf(r.Object)["note"] != "twin has 99" || specOf(r.Object)["ratio"] != float64(i)+0.5 {
				t.Errorf("%d: %v, %v", i, r.Object, err)
			}
		})
	}
	all.Wait()
}

func TestHooksOfALostPluginAnswer503(t *testing.T) {
	h, b := attach(t)
	h.Kill()
	err := b.Hooks(gearsGR).(resource.Preparer).Prepare(t.Context(), &resource.Request{Object: gear(map[string]any{})})
	if !apierrors.IsServiceUnavailable(err) {
		t.Errorf("got %v", err)
	}
}
