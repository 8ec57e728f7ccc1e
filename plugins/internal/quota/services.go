package quota

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

var serviceNames = []corev1.ResourceName{
	countName(Services), corev1.ResourceServices, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
}

type services struct{}

// Handles updates too, since the type of a service may change.
func (services) Handles(r Request) bool { return r.Subresource == "" }

func (services) Names(hard []corev1.ResourceName) []corev1.ResourceName {
	return among(hard, serviceNames)
}

func (services) InScope(corev1.ScopedResourceSelectorRequirement, any) (bool, error) {
	return false, nil
}

func (services) Constrain([]corev1.ResourceName, any) error { return nil }

func (services) Usage(_ context.Context, object any) (corev1.ResourceList, error) {
	s, ok := object.(*corev1.Service)
	if !ok {
		return nil, unexpected("Service", object)
	}
	ports, balancers := 0, 0
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = len(s.Spec.Ports)
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		if alloc := s.Spec.AllocateLoadBalancerNodePorts; alloc == nil || *alloc {
			ports = len(s.Spec.Ports)
			break
		}
		for i := range s.Spec.Ports {
			if s.Spec.Ports[i].NodePort != 0 {
				ports++
			}
		}
	}
	return corev1.ResourceList{
		countName(Services): one(), corev1.ResourceServices: one(),
		corev1.ResourceServicesNodePorts: number(ports), corev1.ResourceServicesLoadBalancers: number(balancers),
	}, nil
}
