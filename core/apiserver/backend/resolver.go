package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/store"
)

// Buckets of the store that say where a Service is.
const (
	servicesBucket = "services/"
	slicesBucket   = "endpointslices.discovery.k8s.io/"
)

// Objects reads the stored Services and EndpointSlices; *store.Store implements it.
type Objects interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
}

// Service names a port of a Service.
type Service struct {
	Namespace, Name string
	// Port is the number of the Service's port, not of the endpoints'.
	Port int32
}

// Host is the name in the certificate of the server behind a Service.
func (s Service) Host() string { return s.Name + "." + s.Namespace + ".svc" }

// Keys returns the prefixes of the store in which a change may move the Service elsewhere.
func (s Service) Keys() []store.Key {
	return []store.Key{store.Key(servicesBucket + s.Namespace + "/" + s.Name), store.Key(slicesBucket + s.Namespace + "/")}
}

// Resolver finds where Services are.
type Resolver struct{ objects Objects }

// NewResolver returns a Resolver over stored objects.
func NewResolver(objects Objects) *Resolver { return &Resolver{objects} }

// Get returns a Service; an apierrors NotFound where there is none.
func (r *Resolver) Get(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	o, err := r.objects.Get(ctx, store.Key(servicesBucket+namespace+"/"+name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "service"}, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read service %s/%s: %w", namespace, name, err)
	}
	var s corev1.Service
	if err := json.Unmarshal(o.Data, &s); err != nil {
		return nil, fmt.Errorf("decode service %s/%s: %w", namespace, name, err)
	}
	return &s, nil
}

// Slices returns the EndpointSlices of a Service.
func (r *Resolver) Slices(ctx context.Context, namespace, name string) ([]discoveryv1.EndpointSlice, error) {
	snap, err := r.objects.List(ctx, store.Key(slicesBucket+namespace+"/"), store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the endpoint slices of service %s/%s: %w", namespace, name, err)
	}
	var out []discoveryv1.EndpointSlice
	for _, o := range snap.Objects {
		// Those of other services are not decoded.
		if gjson.GetBytes(o.Data, `metadata.labels.kubernetes\.io/service-name`).Str != name {
			continue
		}
		var s discoveryv1.EndpointSlice
		if err := json.Unmarshal(o.Data, &s); err != nil {
			return nil, fmt.Errorf("decode endpoint slice %s: %w", o.Key, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// Address returns HOST:PORT of a ready endpoint of a Service, chosen at random. A Service
// without a selector that nobody has made endpoint slices for is reached at its cluster IP,
// one that is an external name at that name. Errors are apierrors NotFound where there is no such Service
// and ServiceUnavailable where it has no such port or nobody is ready behind it.
func (r *Resolver) Address(ctx context.Context, s Service) (string, error) {
	service, err := r.Get(ctx, s.Namespace, s.Name)
	if err != nil {
		return "", err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return net.JoinHostPort(service.Spec.ExternalName, strconv.Itoa(int(s.Port))), nil
	}
	i := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == s.Port })
	if i < 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", s.Port, s.Name))
	}
	list, err := r.Slices(ctx, s.Namespace, s.Name)
	if err != nil {
		return "", err
	}
	if len(list) == 0 && net.ParseIP(service.Spec.ClusterIP) != nil && len(service.Spec.Selector) == 0 {
		return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(s.Port))), nil
	}
	var family corev1.IPFamily
	if len(service.Spec.IPFamilies) > 0 {
		family = service.Spec.IPFamilies[0]
	}
	if addresses := Ready(list, service.Spec.Ports[i].Name, family); len(addresses) > 0 {
		return addresses[rand.IntN(len(addresses))], nil
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", s.Name))
}

// Ready returns HOST:PORT of all ready endpoints that have a port of that name: those of
// the family where it has any, else all.
func Ready(list []discoveryv1.EndpointSlice, port string, family corev1.IPFamily) []string {
	var preferred, others []string
	for i := range list {
		for _, p := range list[i].Ports {
			if p.Port == nil || name(p.Name) != port {
				continue
			}
			for _, e := range list[i].Endpoints {
				if len(e.Addresses) == 0 || e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				address := net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port)))
				if family == "" || string(list[i].AddressType) == string(family) {
					preferred = append(preferred, address)
				} else {
					others = append(others, address)
				}
			}
		}
	}
	if len(preferred) > 0 {
		return preferred
	}
	return others
}

func name(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
