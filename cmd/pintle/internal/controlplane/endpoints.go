package controlplane

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/cluster"
)

// apiName is the service that stands for the API servers, in the default namespace.
const apiName = "kubernetes"

// keepEndpoints lets the service point at the servers that are well, while this one leads.
func (s *Server) keepEndpoints(ctx context.Context, admin *rest.Config) {
	if s.cfg.Cluster.Listen == "" {
		return // alone; they were written at the start
	}
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		s.log.Error("The service kubernetes does not follow the servers", "error", err)
		return
	}
	for {
		servers, changed := s.cluster.Servers()
		if len(servers) > 0 {
			if err := s.putEndpoints(ctx, client, servers); err != nil && ctx.Err() == nil {
				s.log.Warn("The service kubernetes does not point at all servers that are well", "error", err)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// writeEndpoints lets the service point at the servers as they are now.
func (s *Server) writeEndpoints(ctx context.Context, client kubernetes.Interface) error {
	list, err := s.cluster.List(ctx)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return s.putEndpoints(ctx, client, list.Servers)
}

// group of addresses of one family that share a port, as endpoint slices must.
type endpointGroup struct {
	port int32
	six  bool
	ips  []string
}

// groups are the addresses of the servers that are well, and of this one. Loopback is none:
// endpoints can't hold it.
func (s *Server) groups(servers []cluster.Server) []endpointGroup {
	var out []endpointGroup
	for _, srv := range servers {
		if !srv.Healthy && srv.ID != s.identity.ID {
			continue
		}
		for _, api := range srv.API {
			u, err := url.Parse(api)
			if err != nil {
				continue
			}
			ip, err := netip.ParseAddr(u.Hostname())
			port, perr := strconv.ParseUint(u.Port(), 10, 16)
			if err != nil || perr != nil || ip.IsLoopback() {
				continue
			}
			g := endpointGroup{port: int32(port), six: ip.Is6()}
			i := slices.IndexFunc(out, func(o endpointGroup) bool { return o.port == g.port && o.six == g.six })
			if i < 0 {
				i = len(out)
				out = append(out, g)
			}
			out[i].ips = append(out[i].ips, ip.String())
		}
	}
	for i := range out {
		slices.Sort(out[i].ips)
		out[i].ips = slices.Compact(out[i].ips)
	}
	slices.SortFunc(out, func(a, b endpointGroup) int { return len(b.ips) - len(a.ips) })
	return out
}

func (s *Server) putEndpoints(ctx context.Context, client kubernetes.Interface, servers []cluster.Server) error {
	groups := s.groups(servers)
	if len(groups) == 0 {
		return nil
	}
	if err := putLegacyEndpoints(ctx, client, groups); err != nil {
		return fmt.Errorf("endpoints %s: %w", apiName, err)
	}
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	wanted := map[string]bool{}
	for i, g := range groups {
		want := g.slice(i)
		wanted[want.Name] = true
		have, err := slices.Get(ctx, want.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = slices.Create(ctx, want, metav1.CreateOptions{})
		case err != nil:
		case have.AddressType != want.AddressType:
			// Which can't be changed.
			if err = slices.Delete(ctx, want.Name, metav1.DeleteOptions{}); err == nil {
				_, err = slices.Create(ctx, want, metav1.CreateOptions{})
			}
		case !reflect.DeepEqual(have.Endpoints, want.Endpoints) || !reflect.DeepEqual(have.Ports, want.Ports):
			_, err = slices.Update(ctx, want, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("endpoint slice %s: %w", want.Name, err)
		}
	}
	all, err := slices.List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + apiName})
	if err != nil {
		return fmt.Errorf("endpoint slices of %s: %w", apiName, err)
	}
	for _, have := range all.Items {
		if !strings.HasPrefix(have.Name, apiName+"-") || wanted[have.Name] {
			continue
		}
		if err := slices.Delete(ctx, have.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("endpoint slice %s: %w", have.Name, err)
		}
	}
	return nil
}

// slice of the group. The first has the name of the service, the others a number too.
func (g endpointGroup) slice(number int) *discoveryv1.EndpointSlice {
	name, proto, ready, port := "https", corev1.ProtocolTCP, true, g.port
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: apiName, Labels: map[string]string{discoveryv1.LabelServiceName: apiName}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &proto}},
	}
	if number > 0 {
		out.Name += "-" + strconv.Itoa(number)
	}
	if g.six {
		out.AddressType = discoveryv1.AddressTypeIPv6
	}
	for _, ip := range g.ips {
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		})
	}
	return out
}

// putLegacyEndpoints writes the object that older clients read.
func putLegacyEndpoints(ctx context.Context, client kubernetes.Interface, groups []endpointGroup) error {
	want := &corev1.Endpoints{ //nolint:staticcheck // served for clients that still read it
		ObjectMeta: metav1.ObjectMeta{Name: apiName, Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}},
	}
	for _, g := range groups {
		subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "https", Port: g.port, Protocol: corev1.ProtocolTCP}}} //nolint:staticcheck // as above
		for _, ip := range g.ips {
			subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: ip})
		}
		want.Subsets = append(want.Subsets, subset)
	}
	endpoints := client.CoreV1().Endpoints(metav1.NamespaceDefault)
	have, err := endpoints.Get(ctx, apiName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = endpoints.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && !reflect.DeepEqual(have.Subsets, want.Subsets):
		_, err = endpoints.Update(ctx, want, metav1.UpdateOptions{})
	}
	return err
}
