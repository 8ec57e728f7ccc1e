package provider_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/api"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/cloud/provider"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/plugintest"
)

// acme is a provider as those of cloud-controller-managers are written.
type acme struct {
	config string
	old    bool // has only what InstancesV2 has replaced

	mu        sync.Mutex
	ready     bool // its first load balancer takes two attempts
	balancers map[string]bool
	routes    []*cloudprovider.Route
}

func (a *acme) Initialize(b cloudprovider.ControllerClientBuilder, _ <-chan struct{}) {
	_ = b.ClientOrDie("acme")
}
func (a *acme) LoadBalancer() (cloudprovider.LoadBalancer, bool) { return a, true }
func (a *acme) Instances() (cloudprovider.Instances, bool)       { return oldInstances{}, a.old }
func (a *acme) InstancesV2() (cloudprovider.InstancesV2, bool)   { return a, !a.old }
func (a *acme) Zones() (cloudprovider.Zones, bool)               { return oldInstances{}, a.old }
func (a *acme) Clusters() (cloudprovider.Clusters, bool)         { return nil, false }
func (a *acme) Routes() (cloudprovider.Routes, bool)             { return a, true }
func (a *acme) ProviderName() string                             { return "acme" }
func (a *acme) HasClusterID() bool                               { return true }
func known(n *corev1.Node) bool {
	return n.Spec.ProviderID == "acme://node-1" || n.Spec.ProviderID == "" && n.Name == "node-1"
}

func (a *acme) InstanceExists(_ context.Context, n *corev1.Node) (bool, error) { return known(n), nil }
func (a *acme) InstanceShutdown(context.Context, *corev1.Node) (bool, error)   { return false, nil }
func (a *acme) InstanceMetadata(_ context.Context, n *corev1.Node) (*cloudprovider.InstanceMetadata, error) {
	if !known(n) {
		return nil, cloudprovider.InstanceNotFound
	}
	return &cloudprovider.InstanceMetadata{ProviderID: "acme://node-1", InstanceType: "large", Zone: "z", Region: "r"}, nil
}

func (a *acme) GetLoadBalancerName(context.Context, string, *corev1.Service) string { return "" }
func (a *acme) GetLoadBalancer(_ context.Context, _ string, s *corev1.Service) (*corev1.LoadBalancerStatus, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}, a.balancers[s.Name], nil
}

func (a *acme) EnsureLoadBalancer(ctx context.Context, c string, s *corev1.Service, _ []*corev1.Node) (*corev1.LoadBalancerStatus, error) {
	a.mu.Lock()
	ready := a.ready
	a.ready, a.balancers[s.Name] = true, ready
	a.mu.Unlock()
	if !ready {
		return nil, api.NewRetryError("it is being made", time.Millisecond)
	}
	if s.Name == "elsewhere" {
		return nil, cloudprovider.ImplementedElsewhere
	}
	st, _, err := a.GetLoadBalancer(ctx, c, s)
	return st, err
}

func (a *acme) UpdateLoadBalancer(context.Context, string, *corev1.Service, []*corev1.Node) error {
	return nil
}

func (a *acme) EnsureLoadBalancerDeleted(_ context.Context, _ string, s *corev1.Service) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.balancers, s.Name)
	return nil
}

func (a *acme) ListRoutes(context.Context, string) ([]*cloudprovider.Route, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.routes), nil
}

func (a *acme) drop(cidr string) {
	a.routes = slices.DeleteFunc(a.routes, func(o *cloudprovider.Route) bool { return o.DestinationCIDR == cidr })
}

func (a *acme) CreateRoute(_ context.Context, _, hint string, r *cloudprovider.Route) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(r.DestinationCIDR)
	a.routes = append(a.routes, &cloudprovider.Route{Name: hint, TargetNode: r.TargetNode, DestinationCIDR: r.DestinationCIDR})
	return nil
}

func (a *acme) DeleteRoute(_ context.Context, _ string, r *cloudprovider.Route) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(r.DestinationCIDR)
	return nil
}

// oldInstances is asked for one thing at a time.
type oldInstances struct{ cloudprovider.Instances }

func (oldInstances) InstanceID(_ context.Context, name types.NodeName) (string, error) {
	if name != "node-1" {
		return "", cloudprovider.InstanceNotFound
	}
	return "node-1", nil
}

func (oldInstances) InstanceTypeByProviderID(context.Context, string) (string, error) {
	return "large", nil
}

func (oldInstances) NodeAddressesByProviderID(context.Context, string) ([]corev1.NodeAddress, error) {
	return []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}}, nil
}

func (oldInstances) InstanceExistsByProviderID(_ context.Context, id string) (bool, error) {
	return id == "acme://node-1", nil
}

func (oldInstances) InstanceShutdownByProviderID(context.Context, string) (bool, error) {
	return false, cloudprovider.NotImplemented
}

func (oldInstances) GetZone(context.Context) (cloudprovider.Zone, error) {
	return cloudprovider.Zone{}, cloudprovider.NotImplemented
}

func (oldInstances) GetZoneByProviderID(context.Context, string) (cloudprovider.Zone, error) {
	return cloudprovider.Zone{FailureDomain: "z", Region: "r"}, nil
}

func (oldInstances) GetZoneByNodeName(context.Context, types.NodeName) (cloudprovider.Zone, error) {
	return cloudprovider.Zone{}, cloudprovider.NotImplemented
}

func newAcme(old bool) cloud.Cloud {
	return provider.New(plugin.Info{Name: "acme", Version: "1.0.0"}, func(config io.Reader) (cloudprovider.Interface, error) {
		text, err := io.ReadAll(config)
		if err != nil || strings.TrimSpace(string(text)) != "[global]" {
			return nil, errors.New("cloud config: [global] is missing")
		}
		return &acme{config: string(text), old: old, balancers: map[string]bool{}}, nil
	})
}

func TestContract(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	for name, old := range map[string]bool{"v2": false, "v1": true} {
		t.Run(name, func(t *testing.T) {
			plugintest.RunCloud(t, plugintest.CloudCase{
				Case: plugintest.Case{Settings: []byte(`{"cloudConfig":"[global]"}`), BadSettings: map[string]string{
					`{"cloudConfig":"x","cloudConfigFile":"/y"}`: "settings.cloudConfigFile", `{"config":"x"}`: "settings.config",
				}},
				New:     func() cloud.Cloud { return newAcme(old) },
				Node:    node,
				Service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}},
				Nodes:   []*corev1.Node{node},
				Route:   &cloud.Route{TargetNode: "node-1", DestinationCIDR: "10.0.0.0/24"},
			})
		})
	}
}

// What a provider means by its errors comes through.
func TestMeaning(t *testing.T) {
	a := &acme{balancers: map[string]bool{}}
	s := provider.Services(a)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}}
	_, err := s.LoadBalancers.EnsureLoadBalancer(t.Context(), "c", svc, nil)
	var retry *cloud.RetryError
	if !errors.As(err, &retry) || retry.After != time.Millisecond {
		t.Errorf("%v, want to be tried again", err)
	}
	if _, err := s.LoadBalancers.EnsureLoadBalancer(t.Context(), "c", svc, nil); !errors.Is(err, cloud.ErrImplementedElsewhere) {
		t.Errorf("%v, want ErrImplementedElsewhere", err)
	}
	old := provider.Services(&acme{old: true})
	m, err := old.Instances.InstanceMetadata(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	if err != nil || m.ProviderID != "acme://node-1" || m.InstanceType != "large" || m.Zone != "z" || m.Region != "r" || len(m.Addresses) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}
