package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// testAPI serves a group version in which anything can be asked.
type testAPI struct{ base }

func (*testAPI) GroupVersions() []apiservice.GroupVersion {
	return []apiservice.GroupVersion{{Group: "test.example.com", Version: "v1"}}
}

func (*testAPI) Serve(_ context.Context, env plugin.Env) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/die") {
			panic("the handler fell")
		}
		user, _ := apiservice.UserFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%s %v %v %s %s", user.Username, user.Groups, user.Extra, r.Header.Get("X-Remote-User"), env.Dir)
	}), nil
}

// testCloud has routes to nowhere.
type testCloud struct{ base }

func (c *testCloud) Open(_ context.Context, env plugin.Env) (cloud.Services, error) {
	if env.Config == nil {
		return cloud.Services{}, os.ErrInvalid
	}
	return cloud.Services{Provider: "test", Routes: c}, nil
}

func (*testCloud) ListRoutes(_ context.Context, cluster string) ([]cloud.Route, error) {
	return []cloud.Route{{Name: "r", TargetNode: cluster, Blackhole: true}}, nil
}

func (*testCloud) CreateRoute(context.Context, string, string, cloud.Route) error {
	return &cloud.RetryError{Reason: "the router sleeps", After: 1}
}

func (*testCloud) DeleteRoute(context.Context, string, cloud.Route) error {
	return cloud.ErrInstanceNotFound
}

// get asks an API service as the API server does.
func get(t *testing.T, svc host.APIService, path string) (string, error) {
	t.Helper()
	through := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return svc.Dial(ctx) }, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://plugin/apis/test.example.com/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Remote-User", "ada")
	req.Header.Add("X-Remote-Group", "g1")
	req.Header.Add("X-Remote-Extra-Example.com%2fteam", "red")
	resp, err := (&http.Client{Transport: through}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestAPIServiceInEachPlacement(t *testing.T) {
	type offered struct {
		name string
		gvs  []apiservice.GroupVersion
		svc  host.APIService
	}
	offers := make(chan offered, 4)
	r := start(t, func(c *host.Config) {
		c.OnAPIService = func(name string, gvs []apiservice.GroupVersion, svc host.APIService) error {
			offers <- offered{name, gvs, svc}
			return nil
		}
	}, spec(t, "api", "far"), host.Spec{Name: "near", Placement: host.Builtin, Builtin: &testAPI{base{name: "near"}}})
	r.wait(t, "far", healthy)
	r.wait(t, "near", healthy)
	services := map[string]host.APIService{}
	for range 2 {
		o := <-offers
		if len(o.gvs) != 1 || o.gvs[0].Group != "test.example.com" {
			t.Errorf("%s serves %v", o.name, o.gvs)
		}
		services[o.name] = o.svc
	}
	for name, svc := range services {
		got, err := get(t, svc, "/who")
		if want := "ada [g1] map[example.com/team:[red]]  "; err != nil || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "/plugins/"+name) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// A panic of a handler is one of the plugin, which comes back without being offered again.
	far := services["far"]
	if got, err := get(t, far, "/die"); err == nil {
		t.Errorf("an answer out of a panic: %q", got)
	}
	st := r.wait(t, "far", healthyAgain(1))
	if !strings.Contains(st.LastReason, "the handler fell") {
		t.Errorf("why it ended: %s", st.LastReason)
	}
	if _, away := far.State(); away != nil {
		t.Error(away)
	}
	if got, err := get(t, far, "/who"); !strings.HasPrefix(got, "ada") {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	if err := r.Remove(r.ctx, "far"); err != nil {
		t.Fatal(err)
	}
	if o := <-offers; o.name != "far" || len(o.gvs) != 0 {
		t.Errorf("offered on removal: %+v", o)
	}
	if _, away := far.State(); away == nil || !strings.Contains(away.Error(), "plugin far is ") {
		t.Errorf("away: %v", away)
	}
	if _, err := far.Dial(r.ctx); err == nil {
		t.Error("a way to a plugin that was removed")
	}
}

func TestAHostWithoutAPIRefusesAPIServices(t *testing.T) {
	r := start(t, nil, spec(t, "api", "api"))
	r.wait(t, "api", func(st host.Status) bool {
		return strings.Contains(st.LastReason, `it offers point "apiservice", which this host has no use for`)
	})
}

// A cloud is opened by the host with the identity of its plugin, and asked by others.
func TestCloudIsAskedByAnotherPlugin(t *testing.T) {
	r, p := startCalling(t, []protocol.Point{protocol.PointCloud}, spec(t, "cloud", "sky"))
	r.wait(t, "sky", healthy)
	for restarts := range 2 {
		s, err := remote.CloudServices(r.ctx, p.Conn("sky"))
		if err != nil || s.Provider != "test" || s.Routes == nil || s.Instances != nil || s.LoadBalancers != nil {
			t.Fatalf("services: %+v, %v", s, err)
		}
		if l, err := s.Routes.ListRoutes(r.ctx, "c"); err != nil || len(l) != 1 || l[0].TargetNode != "c" || !l[0].Blackhole {
			t.Errorf("routes: %+v, %v", l, err)
		}
		var retry *cloud.RetryError
		if err := s.Routes.CreateRoute(r.ctx, "c", "h", cloud.Route{}); !errors.As(err, &retry) || retry.Reason != "the router sleeps" || retry.After != 1 {
			t.Errorf("to be tried again: %v", err)
		}
		if err := s.Routes.DeleteRoute(r.ctx, "c", cloud.Route{}); err == nil || err.Error() != cloud.ErrInstanceNotFound.Error() || !errors.Is(err, cloud.ErrInstanceNotFound) {
			t.Errorf("not found: %v", err)
		}
		if restarts == 0 {
			if err := r.Restart("sky"); err != nil {
				t.Fatal(err)
			}
			r.wait(t, "sky", healthyAgain(1))
		}
	}
}

func TestCloudIsAProcess(t *testing.T) {
	r := start(t, nil, host.Spec{Name: "sky", Placement: host.Builtin, Builtin: &testCloud{base{name: "sky"}}})
	r.wait(t, "sky", func(st host.Status) bool { return strings.Contains(st.LastReason, "use placement process") })
}

// Another entry of the same plugin takes over: what is open with the old one ends with it, and
// the new one answers.
func TestAPIServiceIsHandedOver(t *testing.T) {
	offers := make(chan host.APIService, 4)
	api := spec(t, "api", "api")
	r := start(t, func(c *host.Config) {
		c.OnAPIService = func(_ string, _ []apiservice.GroupVersion, svc host.APIService) error { offers <- svc; return nil }
	}, api)
	before := r.wait(t, "api", healthy)
	svc := <-offers
	for n := range 3 {
		api.Env = map[string]string{"TEST_ROUND": fmt.Sprint(n)}
		if err := r.Change(api); err != nil {
			t.Fatal(err)
		}
		before = r.wait(t, "api", func(st host.Status) bool { return healthy(st) && st.PID != 0 && st.PID != before.PID })
		if got, err := get(t, svc, "/who"); !strings.HasPrefix(got, "ada") {
			t.Errorf("round %d: %q, %v", n, got, err)
		}
	}
	if before.Restarts != 0 || len(offers) != 0 {
		t.Errorf("%d restarts, %d offers", before.Restarts, len(offers))
	}
}
