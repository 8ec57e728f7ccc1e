package endpoints

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"k8s.io/endpointslice/util"
)

const (
	managedByKey   = "endpoints.kubernetes.io/managed-by"
	managedBy      = "endpoint-controller"
	overCapacity   = v1.EndpointsOverCapacity
	truncated      = "truncated"
	maxPerObject   = 1000
	headlessMarker = v1.IsHeadlessService
)

// desired makes the Endpoints of a Service from its pods. existing may be nil.
func desired(service *v1.Service, pods []*v1.Pod, existing *v1.Endpoints) *v1.Endpoints {
	e := &v1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: service.Name, Namespace: service.Namespace}}
	if existing != nil {
		e.ObjectMeta = *existing.ObjectMeta.DeepCopy()
	}
	e.Labels = maps.Clone(service.Labels)
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	e.Labels[managedByKey] = managedBy
	delete(e.Labels, headlessMarker)
	if service.Spec.ClusterIP == v1.ClusterIPNone {
		e.Labels[headlessMarker] = ""
	}
	var over bool
	e.Subsets, over = subsets(service, pods)
	delete(e.Annotations, overCapacity)
	if over {
		if e.Annotations == nil {
			e.Annotations = map[string]string{}
		}
		e.Annotations[overCapacity] = truncated
	}
	return e
}

// same reports whether Endpoints need not be written.
func same(a, b *v1.Endpoints) bool {
	return maps.Equal(a.Labels, b.Labels) && a.Annotations[overCapacity] == b.Annotations[overCapacity] &&
		apiequality.Semantic.DeepEqual(a.Subsets, b.Subsets)
}

// subsets groups the pods' addresses by the ports that they serve. It also reports
// whether there were more than fit.
func subsets(service *v1.Service, pods []*v1.Pod) ([]v1.EndpointSubset, bool) {
	groups := map[string]*v1.EndpointSubset{}
	for _, p := range pods {
		if !util.ShouldPodBeInEndpoints(p, service.Spec.PublishNotReadyAddresses) {
			continue
		}
		ip := addressOf(service, p)
		if ip == "" {
			continue
		}
		ports := portsOf(service, p)
		if len(ports) == 0 && len(service.Spec.Ports) > 0 {
			continue // it serves none of them
		}
		address := v1.EndpointAddress{IP: ip, TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}}
		if p.Spec.NodeName != "" {
			node := p.Spec.NodeName
			address.NodeName = &node
		}
		if util.ShouldSetHostname(p, service) {
			address.Hostname = p.Spec.Hostname
		}
		key := portsKey(ports)
		g := groups[key]
		if g == nil {
			g = &v1.EndpointSubset{Ports: ports}
			groups[key] = g
		}
		if service.Spec.PublishNotReadyAddresses || util.IsPodReady(p) {
			g.Addresses = append(g.Addresses, address)
		} else {
			g.NotReadyAddresses = append(g.NotReadyAddresses, address)
		}
	}
	return arrange(groups)
}

// arrange brings the groups into a fixed order and drops what is too much, not ready
// addresses first.
func arrange(groups map[string]*v1.EndpointSubset) ([]v1.EndpointSubset, bool) {
	var out []v1.EndpointSubset
	room, over := maxPerObject, false
	keys := slices.Sorted(maps.Keys(groups))
	for _, key := range keys {
		g := groups[key]
		sortAddresses(g.Addresses)
		g.Addresses, room, over = take(g.Addresses, room, over)
	}
	for _, key := range keys {
		g := groups[key]
		sortAddresses(g.NotReadyAddresses)
		g.NotReadyAddresses, room, over = take(g.NotReadyAddresses, room, over)
		if len(g.Addresses)+len(g.NotReadyAddresses) > 0 {
			out = append(out, *g)
		}
	}
	return out, over
}

func take(list []v1.EndpointAddress, room int, over bool) ([]v1.EndpointAddress, int, bool) {
	if len(list) > room {
		return list[:room], 0, true
	}
	return list, room - len(list), over
}

func sortAddresses(list []v1.EndpointAddress) {
	slices.SortFunc(list, func(a, b v1.EndpointAddress) int {
		return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
	})
}

// addressOf returns the pod's address in the family of the Service.
func addressOf(service *v1.Service, p *v1.Pod) string {
	want6 := len(service.Spec.IPFamilies) > 0 && service.Spec.IPFamilies[0] == v1.IPv6Protocol
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is6() == want6 {
			return ip.IP
		}
	}
	if len(service.Spec.IPFamilies) == 0 {
		return p.Status.PodIP
	}
	return ""
}

// portsOf resolves the ports of a Service on a pod, in a fixed order. Ports that the pod
// does not have are left out.
func portsOf(service *v1.Service, p *v1.Pod) []v1.EndpointPort {
	var out []v1.EndpointPort
	for i := range service.Spec.Ports {
		sp := &service.Spec.Ports[i]
		n, ok := targetPort(sp, p)
		if !ok {
			continue
		}
		out = append(out, v1.EndpointPort{Name: sp.Name, Port: n, Protocol: sp.Protocol, AppProtocol: sp.AppProtocol})
	}
	slices.SortFunc(out, func(a, b v1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

func targetPort(sp *v1.ServicePort, p *v1.Pod) (int32, bool) {
	if sp.TargetPort.Type == intstr.Int {
		if sp.TargetPort.IntVal == 0 {
			return sp.Port, true
		}
		return sp.TargetPort.IntVal, true
	}
	for _, list := range [][]v1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			for _, cp := range list[i].Ports {
				if cp.Name == sp.TargetPort.StrVal && cp.Protocol == sp.Protocol {
					return cp.ContainerPort, true
				}
			}
		}
	}
	return 0, false
}

func portsKey(ports []v1.EndpointPort) string {
	var b strings.Builder
	for _, p := range ports {
		b.WriteString(p.Name + "/" + strconv.Itoa(int(p.Port)) + "/" + string(p.Protocol) + " ")
	}
	return b.String()
}
