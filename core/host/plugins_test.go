package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// TestMain lets the test binary play the plugins: "BINARY plugin KIND NAME".
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "plugin" {
		play(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "host" {
		hostUntilKilled(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// serveAll serves a plugin with all extension points that it implements.
func serveAll(impl plugin.Plugin) { serve.Serve(impl, points.Of(impl)...) }

func play(kind, name string) {
	base := base{name: name}
	if kind, grpcOnly := strings.CutSuffix(kind, "-over-grpc"); grpcOnly { // as a plugin of an older SDK, or of another language
		_ = os.Unsetenv(protocol.LineEnv)
		play(kind, name)
		return
	}
	switch kind {
	case "silent": // alive, but no plugin; without cgo, the runtime takes an empty select for a deadlock
		time.Sleep(time.Hour)
	case "babble":
		fmt.Println("hello, I am not a plugin")
	case "quit":
		fmt.Fprintln(os.Stderr, "can't find my keys")
		os.Exit(3)
	case "controller":
		serveAll(&testController{base: base})
	case "panics":
		servePanicker(name)
	case "panic-once":
		serveAll(&testController{base: base, panicOnce: true})
	case "fails":
		serveAll(&testController{base: base, fails: true})
	case "types":
		serveAll(&testTypes{base: base})
	case "upgradable":
		if f, err := os.OpenFile("pids", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			_, _ = fmt.Fprintln(f, os.Getpid())
			_ = f.Close()
		}
		version := os.Getenv("TEST_VERSION")
		if _, file, ok := strings.Cut(filepath.Base(os.Args[0]), "@"); ok { // see tag
			version = file
		}
		serveAll(&upgradable{testTypes: testTypes{base}, version: version})
	case "caller":
		serveAll(&testCaller{base: base})
	case "keys":
		serveAll(&testKeyManager{base: base})
	case "network":
		serveAll(&testNetwork{base: base})
	case "api":
		serveAll(&testAPI{base})
	case "driver":
		serveAll(&testDriver{base: base})
	case "cloud":
		serveAll(&testCloud{base})
	case "storage":
		serveAll(&testStorage{base})
	case "admission":
		serveAll(&testAdmission{base: base})
	case "garbage-admission":
		serve.Serve(&base, garbagePoint())
	case "access":
		serveAll(&testAccess{base: base})
	default:
		panic("unknown kind " + kind)
	}
}

type base struct {
	name     string
	settings string
}

func (b *base) Info() plugin.Info {
	return plugin.Info{
		Name: b.name, Version: "1.2.3", Description: "for tests",
		Permissions: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}},
	}
}

func (b *base) ConfigSchema() []byte {
	return []byte(`{"type":"object","properties":{
		"mode":{"type":"string","enum":["fast","safe"],"default":"safe"},
		"workers":{"type":"integer","minimum":1},
		"login":{"type":"object","properties":{"password":{"type":"string","format":"password"}}},
		"odd":{"type":"boolean"}}}`)
}

func (b *base) Configure(_ context.Context, settings []byte) error {
	b.settings = string(settings)
	if strings.Contains(b.settings, `"odd":true`) {
		return errors.New("settings.odd: odd is not supported on this machine")
	}
	return nil
}

// report is what a test controller writes into its private directory when it runs.
type report struct {
	Environ  []string
	Settings string
	Token    string
	Socket   string
	Args     []string
}

type testController struct {
	base
	panicOnce, fails bool
}

func (c *testController) Run(ctx context.Context, env plugin.Env) error {
	r, err := json.Marshal(report{
		Environ: os.Environ(), Settings: c.settings, Token: env.Config.BearerToken, Args: os.Args,
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(env.Dir, "report"), r, 0o600); err != nil {
		return err
	}
	env.Log.Info("controller is at work")
	fmt.Println("a line on standard output")
	if c.fails {
		return errors.New("the world is not as it should be")
	}
	marker := filepath.Join(env.Dir, "panicked")
	if _, err := os.Stat(marker); c.panicOnce && err != nil {
		if err := os.WriteFile(marker, nil, 0o600); err != nil {
			return err
		}
		var nothing map[string]int
		nothing["boom"] = 1 //nolint:staticcheck // the panic is what is tested
	}
	<-ctx.Done()
	env.Log.Info("controller was told to stop")
	return ctx.Err()
}

var widgets = schema.GroupResource{Group: "example.dev", Resource: "widgets"}

type testTypes struct{ base }

func (*testTypes) Definitions() ([]*crd.Definition, error) {
	return []*crd.Definition{{
		Group: "example.dev", Scope: crd.NamespaceScoped,
		Names: crd.Names{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "WidgetList"},
		Versions: []crd.Version{{
			Name: "v1", Served: true, Storage: true,
			Schema: func() (*crdschema.Schema, error) {
				return &crdschema.Schema{Type: "object"}, nil
			},
		}},
	}}, nil
}

func (t *testTypes) Hooks(gr schema.GroupResource) any {
	if gr != widgets {
		return nil
	}
	return widgetHooks{}
}

type widgetHooks struct{}

func (widgetHooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Name == "die" {
		os.Exit(7)
	}
	if r.Name == "slow" { // until the test says so
		_ = os.WriteFile("slow-began", nil, 0o600)
		for _, err := os.Stat("slow-end"); err != nil; _, err = os.Stat("slow-end") {
			time.Sleep(5 * time.Millisecond)
		}
	}
	if r.Name == "bad" {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "size"), int64(-1), "must not be negative")}
	}
	return nil
}

// testNetwork keeps what was asked of it in its directory, so that the test sees it across
// restarts.
type testNetwork struct {
	base
	dir string
}

func (n *testNetwork) Setup(_ context.Context, env plugin.Env, node network.Node) error {
	n.dir = env.Dir
	return n.append("setup " + node.Name)
}

func (n *testNetwork) append(line string) error {
	f, err := os.OpenFile(filepath.Join(n.dir, "calls"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

func (n *testNetwork) Attach(_ context.Context, pod network.Pod) (network.Result, error) {
	if n.dir == "" {
		return network.Result{}, errors.New("not set up")
	}
	if pod.Name == "refused" {
		return network.Result{}, errors.New("no address left")
	}
	return network.Result{IPs: []string{"10.1.2.3"}, Interface: "eth0"}, n.append("attach " + pod.Name)
}

func (n *testNetwork) Detach(_ context.Context, pod network.Pod) error {
	return n.append("detach " + pod.Name)
}
func (n *testNetwork) Check(context.Context, network.Pod) error { return nil }
func (n *testNetwork) Teardown(context.Context) error           { return n.append("teardown") }

// testKeyManager wraps by turning bits over, which is enough to see that calls arrive.
type testKeyManager struct{ base }

func (*testKeyManager) Status(context.Context) (kms.Status, error) {
	return kms.Status{KeyID: "k1"}, nil
}

func (*testKeyManager) Wrap(ctx context.Context, key []byte) (kms.Wrapped, error) {
	if string(key) == "slow" {
		<-ctx.Done()
		return kms.Wrapped{}, ctx.Err()
	}
	if string(key) == "refuse" {
		return kms.Wrapped{}, errors.New("no more keys today")
	}
	return kms.Wrapped{KeyID: "k1", Data: turned(key)}, nil
}

func (*testKeyManager) Unwrap(_ context.Context, w kms.Wrapped) ([]byte, error) {
	return turned(w.Data), nil
}

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}
