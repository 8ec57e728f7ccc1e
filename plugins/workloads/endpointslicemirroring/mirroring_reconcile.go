package endpointslicemirroring

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/endpointslice/util"
	netutils "k8s.io/utils/net"
)

const (
	// managedBy marks the slices of this controller.
	managedBy = "endpointslicemirroring-controller.k8s.io"
	// perSubset is how many addresses of one subset are mirrored.
	perSubset = 1000
)

// mirrored reports whether Endpoints ask to be mirrored.
func mirrored(e *v1.Endpoints) bool {
	_, election := e.Annotations[resourcelock.LeaderElectionRecordAnnotationKey]
	return !election && e.Labels[discoveryv1.LabelSkipMirror] != "true"
}

// address is one address of Endpoints, whatever its ports.
type address struct {
	v1.EndpointAddress
	ready bool
}

func (a address) key() string {
	uid := ""
	if a.TargetRef != nil {
		uid = string(a.TargetRef.UID)
	}
	return a.IP + "|" + uid
}

// group is a set of ports that all of some addresses have.
type group struct {
	ports     []v1.EndpointPort
	addresses []address
}

// groups brings subsets into their canonical form: no two groups have the same
// addresses, and an address is listed once for each port, not ready if that is said
// anywhere.
func groups(subsets []v1.EndpointSubset) []group {
	type portKey struct {
		none        bool
		name        string
		port        int32
		protocol    v1.Protocol
		appProtocol string
	}
	byPort := map[portKey]map[string]address{}
	ports := map[portKey]v1.EndpointPort{}
	var order []portKey
	add := func(k portKey, list []v1.EndpointAddress, ready bool) {
		for _, a := range list {
			x := address{a, ready}
			if old, ok := byPort[k][x.key()]; ok {
				old.ready = old.ready && ready
				x = old
			}
			byPort[k][x.key()] = x
		}
	}
	for _, s := range subsets {
		keys := []portKey{{none: true}}
		if len(s.Ports) > 0 {
			keys = keys[:0]
		}
		for _, p := range s.Ports {
			k := portKey{name: p.Name, port: p.Port, protocol: p.Protocol}
			if p.AppProtocol != nil {
				k.appProtocol = *p.AppProtocol
			}
			keys, ports[k] = append(keys, k), p
		}
		for _, k := range keys {
			if byPort[k] == nil {
				byPort[k] = map[string]address{}
				order = append(order, k)
			}
			add(k, s.Addresses, true)
			add(k, s.NotReadyAddresses, false)
		}
	}
	var out []group
	seen := map[string]int{}
	for _, k := range order {
		list := slices.SortedFunc(maps.Values(byPort[k]), func(a, b address) int {
			return cmp.Or(boolCompare(b.ready, a.ready), strings.Compare(a.key(), b.key()))
		})
		var id strings.Builder
		for _, a := range list {
			id.WriteString(a.key())
			if a.ready {
				id.WriteString("+")
			}
			id.WriteString(",")
		}
		// Endpoints without ports must not share a group with those that have some.
		if k.none {
			id.WriteString("none")
		}
		at, ok := seen[id.String()]
		if !ok {
			at = len(out)
			seen[id.String()] = at
			out = append(out, group{addresses: list})
		}
		if !k.none {
			out[at].ports = append(out[at].ports, ports[k])
		}
	}
	return out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// sliceKey says which endpoints may share a slice.
type sliceKey struct {
	family discoveryv1.AddressType
	ports  util.PortMapKey
}

// desired is what the slices of Endpoints should hold.
type desired struct {
	order     []sliceKey
	ports     map[sliceKey][]discoveryv1.EndpointPort
	endpoints map[sliceKey]util.EndpointSet
	// invalid counts the addresses that are none, skipped all that are not mirrored.
	invalid, skipped int
}

func wanted(e *v1.Endpoints) desired {
	d := desired{ports: map[sliceKey][]discoveryv1.EndpointPort{}, endpoints: map[sliceKey]util.EndpointSet{}}
	for _, g := range groups(e.Subsets) {
		ports := portsOf(g.ports)
		id := util.NewPortMapKey(ports)
		added := 0
		for _, a := range g.addresses {
			if added == perSubset {
				break
			}
			endpoint, family, ok := endpointOf(a)
			if !ok {
				d.invalid++
				continue
			}
			key := sliceKey{family, id}
			if d.endpoints[key] == nil {
				d.endpoints[key], d.ports[key] = util.EndpointSet{}, ports
				d.order = append(d.order, key)
			}
			d.endpoints[key].Insert(endpoint)
			added++
		}
		d.skipped += len(g.addresses) - added
	}
	return d
}

func portsOf(list []v1.EndpointPort) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, 0, len(list))
	for i := range list {
		p := list[i].DeepCopy()
		out = append(out, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
	}
	return out
}

func endpointOf(a address) (*discoveryv1.Endpoint, discoveryv1.AddressType, bool) {
	ip := netutils.ParseIPSloppy(a.IP)
	if ip == nil {
		return nil, "", false
	}
	family := discoveryv1.AddressTypeIPv4
	if ip.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	ready := a.ready
	e := &discoveryv1.Endpoint{
		// The address may have been written in another way than slices allow.
		Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef: a.TargetRef, NodeName: a.NodeName,
	}
	if a.Hostname != "" {
		host := a.Hostname
		e.Hostname = &host
	}
	return e, family, true
}

// plan is what is to be done to the slices of Endpoints.
type plan struct {
	create, update, remove []*discoveryv1.EndpointSlice
}

// decide compares the slices there are with what is wanted.
func decide(e *v1.Endpoints, d desired, existing []*discoveryv1.EndpointSlice) plan {
	have := map[sliceKey][]*discoveryv1.EndpointSlice{}
	var p plan
	for _, s := range existing {
		key := sliceKey{s.AddressType, util.NewPortMapKey(s.Ports)}
		if d.endpoints[key] == nil {
			p.remove = append(p.remove, s)
		} else {
			have[key] = append(have[key], s)
		}
	}
	for _, key := range d.order {
		next := sliceFor(e, key.family, d.ports[key], d.endpoints[key])
		if len(have[key]) == 0 {
			p.create = append(p.create, next)
			continue
		}
		first := have[key][0]
		p.remove = append(p.remove, have[key][1:]...)
		if !sameSlice(e, first, next, d.endpoints[key]) {
			next.Name, next.GenerateName = first.Name, ""
			p.update = append(p.update, next)
		}
	}
	return recycle(p)
}

// recycle turns a deletion and a creation into a replacement where the slices are of one family.
func recycle(p plan) plan {
	var create []*discoveryv1.EndpointSlice
	for _, next := range p.create {
		i := slices.IndexFunc(p.remove, func(s *discoveryv1.EndpointSlice) bool { return s.AddressType == next.AddressType })
		if i < 0 {
			create = append(create, next)
			continue
		}
		next.Name, next.GenerateName = p.remove[i].Name, ""
		p.update = append(p.update, next)
		p.remove = slices.Delete(p.remove, i, i+1)
	}
	p.create = create
	return p
}

func sliceFor(e *v1.Endpoints, family discoveryv1.AddressType, ports []discoveryv1.EndpointPort, set util.EndpointSet) *discoveryv1.EndpointSlice {
	labels := maps.Clone(e.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[discoveryv1.LabelServiceName], labels[discoveryv1.LabelManagedBy] = e.Name, managedBy
	prefix := e.Name + "-"
	if len(apivalidation.NameIsDNSSubdomain(prefix, true)) > 0 {
		prefix = e.Name
	}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: prefix, Namespace: e.Namespace, Labels: labels, Annotations: mirroredAnnotations(e.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, v1.SchemeGroupVersion.WithKind("Endpoints"))},
		},
		AddressType: family, Ports: ports,
	}
	for _, endpoint := range set.UnsortedList() {
		s.Endpoints = append(s.Endpoints, *endpoint)
	}
	slices.SortFunc(s.Endpoints, func(a, b discoveryv1.Endpoint) int { return slices.Compare(a.Addresses, b.Addresses) })
	return s
}

func mirroredAnnotations(have map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range have {
		if k != v1.EndpointsLastChangeTriggerTime && k != v1.LastAppliedConfigAnnotation {
			out[k] = v
		}
	}
	return out
}

// sameSlice reports whether a slice is as it should be.
func sameSlice(e *v1.Endpoints, have, want *discoveryv1.EndpointSlice, set util.EndpointSet) bool {
	if len(have.Endpoints) != set.Len() || !apiequality.Semantic.DeepEqual(have.Labels, want.Labels) ||
		!apiequality.Semantic.DeepEqual(have.Annotations, want.Annotations) {
		return false
	}
	for i := range have.Endpoints {
		w := set.Get(&have.Endpoints[i])
		if w == nil || !util.EndpointsEqualBeyondHash(w, &have.Endpoints[i]) {
			return false
		}
	}
	// Endpoints that were made anew under the name have to be the owner.
	return !slices.ContainsFunc(have.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "Endpoints" && o.Name == e.Name && o.UID != e.UID
	})
}
