package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Cloud is a cloud provider. In a cluster of several servers there is one of it beside each, and
// the leader's is asked.
type Cloud interface {
	plugin.Plugin
	// Open returns what the cloud offers. It is called once, when the plugin is configured; ctx
	// is done when nobody needs it any more, and what Open has started should end then.
	Open(ctx context.Context, env plugin.Env) (Services, error)
}

// Services are what a cloud offers; each may be nil. All their methods can be called at the same
// time and be repeated, with the same outcome. What they are given must not be changed.
type Services struct {
	// Provider is the cloud's name, such as "local": provider ids begin with it and "://".
	Provider      string
	Instances     Instances
	LoadBalancers LoadBalancers
	Routes        Routes
}

// Instances tells of the machines behind nodes. A node is known by its spec.providerID, and
// where that is empty by its name.
type Instances interface {
	// InstanceExists says whether there is a machine, also one that is shut down. Where there
	// is none its node is deleted; so a cloud that does not know fails instead.
	InstanceExists(ctx context.Context, node *corev1.Node) (bool, error)
	// InstanceShutdown says whether the machine is shut down.
	InstanceShutdown(ctx context.Context, node *corev1.Node) (bool, error)
	// InstanceMetadata describes the machine. It fails with ErrInstanceNotFound where there is
	// none.
	InstanceMetadata(ctx context.Context, node *corev1.Node) (*InstanceMetadata, error)
}

// InstanceMetadata describes a machine. What is empty is not shown at the node.
type InstanceMetadata struct {
	// ProviderID becomes the node's spec.providerID, PROVIDER://ID.
	ProviderID string
	// InstanceType, Zone and Region become the node's well-known labels.
	InstanceType, Zone, Region string
	// Addresses become the node's status.addresses.
	Addresses []corev1.NodeAddress
	// AdditionalLabels of the node, of the provider's own domain.
	AdditionalLabels map[string]string
}

// LoadBalancers makes load balancers for Services of that type. cluster is the name of the
// cluster, for clouds that have several.
type LoadBalancers interface {
	// GetLoadBalancer returns a Service's load balancer, nil where there is none.
	GetLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) (*corev1.LoadBalancerStatus, error)
	// EnsureLoadBalancer makes a load balancer or brings it to what the Service and the nodes
	// are now, and returns its addresses. It fails with a RetryError where it is not ready yet,
	// with ErrImplementedElsewhere where another controller looks after the Service.
	EnsureLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) (*corev1.LoadBalancerStatus, error)
	// UpdateLoadBalancer brings an existing load balancer to other nodes.
	UpdateLoadBalancer(ctx context.Context, cluster string, service *corev1.Service, nodes []*corev1.Node) error
	// DeleteLoadBalancer removes a load balancer and all that belongs to it. One that is not
	// there is no error.
	DeleteLoadBalancer(ctx context.Context, cluster string, service *corev1.Service) error
}

// Routes brings the packets of pods to their nodes.
type Routes interface {
	// ListRoutes lists the cluster's routes.
	ListRoutes(ctx context.Context, cluster string) ([]Route, error)
	// CreateRoute makes a route. Its name is the cloud's affair; nameHint is unique to it.
	CreateRoute(ctx context.Context, cluster, nameHint string, route Route) error
	// DeleteRoute removes a route, as ListRoutes has returned it.
	DeleteRoute(ctx context.Context, cluster string, route Route) error
}

// Route brings the packets for a range of addresses to a node.
type Route struct {
	Name string
	// TargetNode is the name of the node, empty where Blackhole.
	TargetNode string
	// DestinationCIDR is the range, such as the node's pod CIDR.
	DestinationCIDR string
	// Blackhole says that there is no machine at the other end any more.
	Blackhole bool
	// TargetAddresses are those of the node. Clouds that return them in ListRoutes, and set
	// EnableNodeAddresses there, get a new route when they change.
	TargetAddresses     []corev1.NodeAddress
	EnableNodeAddresses bool
}

// Errors that mean something to who asks.
var (
	// ErrInstanceNotFound says that the cloud has no such machine.
	ErrInstanceNotFound = errors.New("instance not found")
	// ErrImplementedElsewhere says that another controller looks after a Service.
	ErrImplementedElsewhere = errors.New("implemented by alternate to cloud provider")
)

// RetryError says that it is to be tried again after some time, and not when a back-off would.
type RetryError struct {
	// Reason is shown in the Service's events.
	Reason string
	After  time.Duration
}

// Error implements error.
func (e *RetryError) Error() string {
	return fmt.Sprintf("%s, to be tried again in %s", e.Reason, e.After)
}
