package plugintest

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/remote"
)

// CloudCase is a cloud provider to be held to the contract. What it does not offer is not asked
// for; Node is needed where it has instances, Service and Nodes where it has load balancers,
// Route where it has routes.
type CloudCase struct {
	Case
	New func() cloud.Cloud
	// Node is one that the cloud has a machine for.
	Node *corev1.Node
	// Service is of type LoadBalancer, and Nodes take its traffic, at least one.
	Service *corev1.Service
	Nodes   []*corev1.Node
	// Route is one that can be made.
	Route *cloud.Route
}

const testCluster = "plugintest"

// RunCloud holds a cloud provider to what the cloud plugin relies on, directly and over gRPC:
// every call can be repeated, what is not there is said not to be there, and what is given is
// left as it is.
func RunCloud(t *testing.T, c CloudCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	t.Run("direct", func(t *testing.T) {
		h := Start(t, c.New()) // for an environment
		env, err := h.Environment.Env(h.Client.Info(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		impl := c.New()
		configure(t, impl, c.Settings)
		s, err := impl.Open(t.Context(), env)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		c.explore(t, s)
	})
	t.Run("grpc", func(t *testing.T) {
		h := Start(t, c.New())
		configure(t, h.Client, c.Settings)
		p, ok := h.Client.Cloud()
		if !ok {
			t.Fatal("the host is not told that the plugin is a cloud")
		}
		opened(t, p.Open, func(ctx context.Context) (cloud.Services, error) {
			return remote.CloudServices(ctx, h.Client.Conn())
		}, c.explore)
	})
}

func (c CloudCase) explore(t *testing.T, s cloud.Services) {
	t.Helper()
	if s.Provider == "" || strings.ContainsAny(s.Provider, ":/ ") {
		t.Errorf("provider %q: a name is needed that a provider id can begin with", s.Provider)
	}
	if s.Instances == nil && s.LoadBalancers == nil && s.Routes == nil {
		t.Error("it offers nothing")
	}
	if s.Instances != nil && c.Node != nil {
		t.Run("instances", func(t *testing.T) { c.instances(t, s) })
	}
	if s.LoadBalancers != nil && c.Service != nil {
		t.Run("load balancers", func(t *testing.T) { c.balancers(t, s.LoadBalancers) })
	}
	if s.Routes != nil && c.Route != nil {
		t.Run("routes", func(t *testing.T) { c.routes(t, s.Routes) })
	}
}

func (c CloudCase) instances(t *testing.T, s cloud.Services) {
	ctx, i := t.Context(), s.Instances
	node := c.Node.DeepCopy()
	var id string
	for range 2 {
		m, err := i.InstanceMetadata(ctx, node)
		if err != nil {
			t.Fatalf("metadata: %v", err)
		}
		if !strings.HasPrefix(m.ProviderID, s.Provider+"://") || id != "" && m.ProviderID != id {
			t.Errorf("provider id %q after %q: must begin with %s:// and stay", m.ProviderID, id, s.Provider)
		}
		id = m.ProviderID
		if exists, err := i.InstanceExists(ctx, node); err != nil || !exists {
			t.Errorf("exists: %t, %v", exists, err)
		}
		if _, err := i.InstanceShutdown(ctx, node); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		node.Spec.ProviderID = id // from now on it is known by that
	}
	if node.Spec.ProviderID = ""; !reflect.DeepEqual(node, c.Node) && c.Node.Spec.ProviderID == "" {
		t.Error("the node was changed")
	}
	none := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "plugintest-none"}}
	if exists, err := i.InstanceExists(ctx, none); err != nil || exists {
		t.Errorf("a machine that is not there: exists %t, %v", exists, err)
	}
	if m, err := i.InstanceMetadata(ctx, none); !errors.Is(err, cloud.ErrInstanceNotFound) {
		t.Errorf("a machine that is not there: metadata %+v, %v, want ErrInstanceNotFound", m, err)
	}
}

func (c CloudCase) balancers(t *testing.T, b cloud.LoadBalancers) {
	ctx := t.Context()
	service := c.Service.DeepCopy()
	absent := func(when string) {
		t.Helper()
		if st, err := b.GetLoadBalancer(ctx, testCluster, service); err != nil || st != nil {
			t.Errorf("%s there is a load balancer: %+v, %v", when, st, err)
		}
		if err := b.DeleteLoadBalancer(ctx, testCluster, service); err != nil {
			t.Errorf("%s one that is not there can't be deleted: %v", when, err)
		}
	}
	absent("before it is made")
	var first *corev1.LoadBalancerStatus
	for range 2 {
		st, err := c.ensure(ctx, b, service)
		if err != nil {
			t.Fatalf("ensure: %v", err)
		}
		if len(st.Ingress) == 0 {
			t.Error("the load balancer has no address")
		}
		if first != nil && !reflect.DeepEqual(st, first) {
			t.Errorf("ensured again it is at %+v and was at %+v", st, first)
		}
		first = st
	}
	if st, err := b.GetLoadBalancer(ctx, testCluster, service); err != nil || !reflect.DeepEqual(st, first) {
		t.Errorf("get: %+v, %v, want %+v", st, err, first)
	}
	for _, nodes := range [][]*corev1.Node{c.Nodes[:1], c.Nodes, {}} {
		if err := b.UpdateLoadBalancer(ctx, testCluster, service, nodes); err != nil {
			t.Errorf("update to %d nodes: %v", len(nodes), err)
		}
	}
	if err := b.DeleteLoadBalancer(ctx, testCluster, service); err != nil {
		t.Fatalf("delete: %v", err)
	}
	absent("after it was deleted")
	if !reflect.DeepEqual(service, c.Service) {
		t.Error("the service was changed")
	}
}

// ensure tries for as long as the cloud says that it has to be tried again.
func (c CloudCase) ensure(ctx context.Context, b cloud.LoadBalancers, service *corev1.Service) (*corev1.LoadBalancerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		st, err := b.EnsureLoadBalancer(ctx, testCluster, service, c.Nodes)
		var retry *cloud.RetryError
		if !errors.As(err, &retry) {
			return st, err
		}
		if err := waitFor(ctx, retry.After); err != nil {
			return nil, err
		}
	}
}

func (c CloudCase) routes(t *testing.T, r cloud.Routes) {
	ctx := t.Context()
	find := func() (found []cloud.Route) {
		list, err := r.ListRoutes(ctx, testCluster)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, route := range list {
			if route.DestinationCIDR == c.Route.DestinationCIDR {
				found = append(found, route)
			}
		}
		return found
	}
	for range 2 {
		if err := r.CreateRoute(ctx, testCluster, "plugintest", *c.Route); err != nil {
			t.Fatalf("create: %v", err)
		}
	}
	made := find()
	if len(made) != 1 || made[0].TargetNode != c.Route.TargetNode {
		t.Fatalf("created twice there are %+v", made)
	}
	for range 2 {
		if err := r.DeleteRoute(ctx, testCluster, made[0]); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if left := find(); len(left) > 0 {
		t.Errorf("deleted there are %+v", left)
	}
}

// waitFor waits, or until ctx is done.
func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
