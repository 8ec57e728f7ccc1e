package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	sdkcloud "github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/peers"
)

// sky is a cloud in memory.
type sky struct {
	mu       sync.Mutex
	machines map[string]sdkcloud.InstanceMetadata // by node name
	balanced map[string][]string                  // nodes of each Service
	retry    bool                                 // the next load balancer is not ready yet
	routes   []sdkcloud.Route
}

func (s *sky) services() sdkcloud.Services {
	return sdkcloud.Services{Provider: "sky", Instances: s, LoadBalancers: s, Routes: s}
}

func (s *sky) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sky) InstanceExists(_ context.Context, n *v1.Node) (ok bool, _ error) {
	s.do(func() { _, ok = s.machines[n.Name] })
	return ok, nil
}

func (s *sky) InstanceShutdown(context.Context, *v1.Node) (bool, error) { return false, nil }

func (s *sky) InstanceMetadata(_ context.Context, n *v1.Node) (*sdkcloud.InstanceMetadata, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.machines[n.Name]
	if !ok {
		return nil, fmt.Errorf("%w: %s", sdkcloud.ErrInstanceNotFound, n.Name)
	}
	return &m, nil
}

func (s *sky) GetLoadBalancer(_ context.Context, _ string, svc *v1.Service) (st *v1.LoadBalancerStatus, _ error) {
	s.do(func() {
		if s.balanced[svc.Name] != nil {
			st = &v1.LoadBalancerStatus{}
		}
	})
	return st, nil
}

func (s *sky) EnsureLoadBalancer(ctx context.Context, cluster string, svc *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	retry := false
	s.do(func() { retry, s.retry = s.retry, false })
	if retry {
		return nil, &sdkcloud.RetryError{Reason: "it is being made", After: time.Millisecond}
	}
	if err := s.UpdateLoadBalancer(ctx, cluster, svc, nodes); err != nil {
		return nil, err
	}
	return &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "192.0.2.7"}}}, nil
}

func (s *sky) UpdateLoadBalancer(_ context.Context, _ string, svc *v1.Service, nodes []*v1.Node) error {
	names := []string{}
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	s.do(func() { s.balanced[svc.Name] = names })
	return nil
}

func (s *sky) DeleteLoadBalancer(_ context.Context, _ string, svc *v1.Service) error {
	s.do(func() { delete(s.balanced, svc.Name) })
	return nil
}

func (s *sky) ListRoutes(context.Context, string) (out []sdkcloud.Route, _ error) {
	s.do(func() { out = slices.Clone(s.routes) })
	return out, nil
}

func (s *sky) CreateRoute(_ context.Context, _, hint string, r sdkcloud.Route) error {
	r.Name = hint
	s.do(func() { s.routes = append(s.routes, r) })
	return nil
}

func (s *sky) DeleteRoute(_ context.Context, _ string, r sdkcloud.Route) error {
	s.do(func() {
		s.routes = slices.DeleteFunc(s.routes, func(o sdkcloud.Route) bool { return o.DestinationCIDR == r.DestinationCIDR })
	})
	return nil
}

// eventually waits for a condition of what other goroutines do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// newNode is a node as an agent registers it that waits for its cloud.
func newNode(name, cidr string) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}, Taints: []v1.Taint{
			{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: v1.TaintEffectNoSchedule},
		}},
		Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}},
	}
}

func machine(id string) sdkcloud.InstanceMetadata {
	return sdkcloud.InstanceMetadata{
		ProviderID: "sky://" + id, InstanceType: "large", Zone: "z1", Region: "r1",
		Addresses:        []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.1"}},
		AdditionalLabels: map[string]string{"sky.example.com/rack": "4"},
	}
}

// The whole of what a cloud-controller-manager does, with the settings of c.
func TestControllers(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := &sky{machines: map[string]sdkcloud.InstanceMetadata{"a": machine("1"), "b": machine("2")}, balanced: map[string][]string{}, retry: true}
	client := fake.NewClientset(newNode("a", "10.0.1.0/24"), newNode("b", "10.0.2.0/24"))
	c := New()
	if err := c.Configure(ctx, []byte(`{"nodeMonitorPeriodSeconds":1,"clusterCIDRs":["10.0.0.0/16"],"routePeriodSeconds":1}`)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.runWith(ctx, client, s.services(), slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	node := func(name string) *v1.Node {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return &v1.Node{}
		}
		return n
	}
	eventually(t, "initialized nodes", func() bool {
		return node("a").Spec.ProviderID == "sky://1" && len(node("a").Spec.Taints) == 0 && node("b").Spec.ProviderID == "sky://2"
	})
	n := node("a")
	for label, want := range map[string]string{
		"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "node.kubernetes.io/instance-type": "large", "sky.example.com/rack": "4",
	} {
		if n.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, n.Labels[label], want)
		}
	}
	eventually(t, "addresses", func() bool { a := node("a").Status.Addresses; return len(a) == 1 && a[0].Address == "192.0.2.1" })
	eventually(t, "routes", func() bool { l, _ := s.ListRoutes(ctx, ""); return len(l) == 2 })

	services := client.CoreV1().Services("default")
	if _, err := services.Create(ctx, &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u"},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 30080}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	web := func() *v1.Service {
		svc, err := services.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return svc
	}
	eventually(t, "the load balancer", func() bool {
		in := web().Status.LoadBalancer.Ingress
		return len(in) == 1 && in[0].IP == "192.0.2.7" && slices.Contains(web().Finalizers, "service.kubernetes.io/load-balancer-cleanup")
	})
	balanced := func(want string) {
		t.Helper()
		eventually(t, "balancing over "+want, func() (ok bool) {
			s.do(func() { ok = strings.Join(s.balanced["web"], " ") == want })
			return ok
		})
	}
	balanced("a b")

	// A machine is gone: so is its node, its part of the load, and its route.
	s.do(func() { delete(s.machines, "b") })
	b := node("b")
	for i := range b.Status.Conditions {
		if b.Status.Conditions[i].Type == v1.NodeReady {
			b.Status.Conditions[i].Status = v1.ConditionUnknown
		}
	}
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node's end", func() bool {
		_, err := client.CoreV1().Nodes().Get(ctx, "b", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	balanced("a")
	eventually(t, "the route's end", func() bool { l, _ := s.ListRoutes(ctx, ""); return len(l) == 1 })

	svc := web()
	now := metav1.Now()
	svc.DeletionTimestamp = &now
	if _, err := services.Update(ctx, svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the load balancer's end", func() (gone bool) {
		s.do(func() { gone = s.balanced["web"] == nil })
		return gone
	})
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "",
		`{"clusterCIDRs":["10.0.0.0/16","fd00::/48"]}`:     "",
		`{"clusterCIDRs":["10.0.0.0/16","10.1.0.0/16"]}`:   "clusterCIDRs[1]: 10.1.0.0/16 is of the same family as another",
		`{"clusterCIDRs":["ten"]}`:                         "clusterCIDRs[0]: invalid CIDR address: ten",
		`{"disabled":["node-route-controller","frobber"]}`: `disabled[1]: no controller is called "frobber"`,
		`{"concurrentServices":0}`:                         "concurrentServices: must be at least 1, is 0",
		`{"providers":"x"}`:                                `unknown field "providers"`,
	} {
		err := New().Configure(t.Context(), []byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Which plugin is asked, and what ends the controllers.
func TestFinder(t *testing.T) {
	offers := map[string]sdkcloud.Services{}
	var mu sync.Mutex
	set := func(name string, s sdkcloud.Services) {
		mu.Lock()
		defer mu.Unlock()
		offers[name] = s
	}
	newFinder := func(want string) *finder {
		return &finder{want: want, log: slog.New(slog.DiscardHandler), services: func(_ context.Context, name string) (sdkcloud.Services, error) {
			mu.Lock()
			defer mu.Unlock()
			s, ok := offers[name]
			if !ok {
				return s, errors.New("not open yet")
			}
			return s, nil
		}}
	}
	for _, tc := range []struct {
		want string
		list []peers.Peer
		name string
		why  string
	}{
		{"", nil, "", "no plugin offers the point cloud"},
		{"", []peers.Peer{{Name: "x"}}, "", "plugin x is away"},
		{"", []peers.Peer{{Name: "x", Available: true}}, "x", ""},
		{"", []peers.Peer{{Name: "x", Available: true}, {Name: "y"}}, "", "settings.provider must name one of the plugins [x y]"},
		{"y", []peers.Peer{{Name: "x", Available: true}, {Name: "y", Available: true}}, "y", ""},
		{"z", []peers.Peer{{Name: "x", Available: true}}, "", "plugin z, which settings.provider names, does not offer the point cloud"},
	} {
		if got, why := newFinder(tc.want).choose(tc.list); got.Name != tc.name || why != tc.why {
			t.Errorf("want %q of %v: %q, %q", tc.want, tc.list, got.Name, why)
		}
	}
	set("x", (&sky{}).services())
	f, lists := newFinder(""), make(chan []peers.Peer)
	list := func(session uint64, available bool) []peers.Peer {
		return []peers.Peer{{Name: "x", Session: session, Available: available}}
	}
	if s, err := f.find(t.Context(), list(1, true), lists); err != nil || s.Provider != "sky" {
		t.Fatal(s, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.follow(t.Context(), lists) }()
	lists <- list(1, false) // away, and back as it was
	lists <- list(2, true)
	lists <- list(2, true)
	select {
	case err := <-ended:
		t.Fatalf("ended by a restart of the provider: %v", err)
	default:
	}
	set("x", sdkcloud.Services{Provider: "sky"}) // back without its load balancers
	lists <- list(3, true)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the provider was plugin x (sky, instances, load balancers, routes) and is now x (sky)") {
		t.Errorf("%v", err)
	}
}
