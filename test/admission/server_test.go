// Package admission holds the admission of Kubernetes kinds and the controller that counts
// quotas to what upstream does, through an API server and with real clients.
package admission

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/resourcequota"
	sdkadmission "github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/test/inprocess"
)

// header is whom a request is by; "admin" without it.
const header = "X-User"

// users are who they say; "mallory" may do everything but what concerns signers.
type users struct{}

func (users) Authenticate(r *http.Request) (resource.User, bool, error) {
	name := r.Header.Get(header)
	if name == "" {
		name = "admin"
	}
	return resource.User{Name: name}, true, nil
}

func (users) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.User.Name != "mallory" || a.Resource != "signers", "", nil
}

// warnings collects what the server warns of.
type warnings struct {
	mu   sync.Mutex
	list []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// take returns the warnings since the last call.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.list
	w.list = nil
	return out
}

// env is a server with the admission plugins.
type env struct {
	config   *rest.Config
	client   kubernetes.Interface
	warnings *warnings
}

// as returns a client of another user.
func (e *env) as(tb testing.TB, name string) kubernetes.Interface {
	config := rest.CopyConfig(e.config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return asUser{rt, name} })
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

type asUser struct {
	http.RoundTripper
	name string
}

func (a asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(header, a.name)
	return a.RoundTripper.RoundTrip(r)
}

// late writes through a server that is made after who writes.
type late struct{ server **apiserver.Server }

func (l late) ChangeStatus(ctx context.Context, gr runtimeschema.GroupResource, namespace, name string, change func(map[string]any) error) error {
	return (*l.server).Writer().ChangeStatus(ctx, gr, namespace, name, change)
}

// serve starts a server, which ends with the test. Namespace "n" is there, with its account.
func serve(tb testing.TB, o admission.Options) *env {
	tb.Helper()
	var api *apiserver.Server
	o.Writer = late{&api}
	o.Authorize = func(ctx context.Context, user resource.User, verb, group, res, name string) (bool, error) {
		ok, _, err := users{}.Authorize(ctx, auth.Attributes{User: user, Verb: verb, Group: group, Resource: res, Name: name})
		return ok, err
	}
	plugins, err := admission.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	s := inprocess.Start(tb, apiserver.Config{
		Authenticator: users{}, Authorizer: users{}, Validators: []sdkadmission.Validator{plugins, plugins.Quota()},
	}, kubeapi.Options{Admission: plugins})
	api = s.API
	e := &env{config: s.Config, warnings: &warnings{}}
	e.config.WarningHandler = e.warnings
	if e.client, err = kubernetes.NewForConfig(e.config); err != nil {
		tb.Fatal(err)
	}
	inprocess.Namespace(tb, e.client, "n", nil)
	return e
}

// count runs the controller that counts quotas until the returned function is called.
func (e *env) count(tb testing.TB) (stop func()) {
	tb.Helper()
	meta, err := metadata.NewForConfig(e.config)
	if err != nil {
		tb.Fatal(err)
	}
	kit := control.Kit{
		Client: e.client, Log: slog.New(slog.DiscardHandler),
		Informers: informers.NewSharedInformerFactoryWithOptions(e.client, 0, informers.WithTransform(control.Trim)),
	}
	c, err := resourcequota.New(kit, meta)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	kit.Informers.StartWithContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
		kit.Informers.Shutdown()
	})
}

// eventually waits for what controllers do.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func refused(err error) string {
	if err == nil {
		return ""
	}
	if !apierrors.IsForbidden(err) {
		return "not forbidden: " + err.Error()
	}
	return err.Error()
}
