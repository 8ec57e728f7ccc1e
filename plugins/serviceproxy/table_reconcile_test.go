package serviceproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func service(name, ip string, change ...func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip},
		Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
	}
	for _, f := range change {
		f(&s.Spec)
	}
	return s
}

type endpointState string

const (
	isReady       endpointState = "ready"
	isUnready     endpointState = "unready"
	isTerminating endpointState = "terminating"
	isUnknown     endpointState = "unknown"
)

func endpoint(ip, node string, state endpointState) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}, NodeName: &node}
	switch state {
	case isReady:
		e.Conditions.Ready = ptr.To(true)
	case isUnready:
		e.Conditions.Ready, e.Conditions.Serving = ptr.To(false), ptr.To(false)
	case isTerminating:
		e.Conditions.Ready, e.Conditions.Serving, e.Conditions.Terminating = ptr.To(false), ptr.To(true), ptr.To(true)
	case isUnknown:
	}
	return e
}

func slice(name string, port int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: &port, Protocol: ptr.To(corev1.ProtocolTCP)}},
		Endpoints:   endpoints,
	}
}

// follow returns the rules that a key leads to, those of chains it jumps to indented away:
// one line per rule, in order, names of chains without their digests.
func follow(c *contents, verdict string, seen map[string]bool) []string {
	name := strings.TrimPrefix(verdict, "goto ")
	if seen[name] {
		return nil
	}
	seen[name] = true
	var out []string
	for _, r := range c.chains[name].rules {
		out = append(out, plain(r))
		for _, word := range strings.FieldsFunc(r, func(c rune) bool { return c == ' ' || c == ',' }) {
			if _, ok := c.chains[word]; ok && word != "reject-all" {
				out = append(out, follow(c, word, seen)...)
			}
		}
	}
	return out
}

func plain(rule string) string {
	words := strings.Split(rule, " ")
	for i, w := range words {
		for _, p := range []string{"svc-", "loc-", "ext-", "fw-"} {
			if strings.HasPrefix(w, p) {
				words[i] = strings.TrimSuffix(p, "-")
			}
		}
	}
	return strings.Join(words, " ")
}

const toOne = "meta l4proto tcp dnat ip to "

func TestTraffic(t *testing.T) {
	nodePort := func(s *corev1.ServiceSpec) {
		s.Type = corev1.ServiceTypeNodePort
		s.Ports[0].NodePort = 30080
	}
	externalLocal := func(s *corev1.ServiceSpec) { s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal }
	internalLocal := func(s *corev1.ServiceSpec) {
		s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	}
	externalIP := func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"203.0.113.7"} }
	cluster, node := "10.96.0.10 . tcp . 80", "tcp . 30080"
	here, there := endpoint("10.1.0.2", "here", isReady), endpoint("10.1.1.2", "there", isReady)
	localElsewhere := []string{
		"ip saddr { 10.1.0.0/24 } goto svc", toOne + "10.1.1.2:8080",
		"fib saddr type local " + setMark + " goto svc", "goto loc", "drop",
	}
	for _, tc := range []struct {
		name   string
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		in     string
		key    string
		want   []string // nil: the key must not be there
	}{
		{"one ready endpoint", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, here)}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.2:8080"}},
		{"two in two slices with different numbers", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, here), slice("b", 8081, there)}, serviceIPs, cluster,
			[]string{toOne + "numgen random mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.1.2 . 8081 }"}},
		{"the same endpoint in two slices", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, endpoint("10.1.0.2", "here", isTerminating), there), slice("b", 8080, here)}, serviceIPs, cluster,
			[]string{toOne + "numgen random mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.1.2 . 8080 }"}},
		{"no condition means ready", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, endpoint("10.1.0.2", "here", isUnknown))}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.2:8080"}},
		{"unready is left out", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, here, endpoint("10.1.0.3", "here", isUnready))}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.2:8080"}},
		{"terminating is left out beside a ready one", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, here, endpoint("10.1.0.3", "here", isTerminating))}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.2:8080"}},
		{"terminating serves where none is ready", service("web", "10.96.0.10"), []*discoveryv1.EndpointSlice{slice("a", 8080, endpoint("10.1.0.3", "here", isTerminating), endpoint("10.1.0.4", "here", isUnready))}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.3:8080"}},
		{"no endpoints", service("web", "10.96.0.10"), nil, serviceIPs, cluster, []string{"goto reject-all"}},
		{"another port's name", service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Ports[0].Name = "metrics" }), []*discoveryv1.EndpointSlice{slice("a", 8080, here)}, serviceIPs, cluster,
			[]string{"goto reject-all"}},
		{"UDP", service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolUDP }), nil, serviceIPs, "10.96.0.10 . udp . 80",
			[]string{"goto reject-all"}},
		{"SCTP", service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolSCTP }), nil, serviceIPs, "10.96.0.10 . sctp . 80",
			[]string{"goto reject-all"}},
		{"headless", service("web", corev1.ClusterIPNone), []*discoveryv1.EndpointSlice{slice("a", 8080, here)}, serviceIPs, "None . tcp . 80", nil},
		{"external name", service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeExternalName }), nil, serviceIPs, cluster, nil},
		{"of the other family", service("web", "fd00::10"), nil, serviceIPs, "fd00::10 . tcp . 80", nil},
		{"cluster IP takes no node port", service("web", "10.96.0.10"), nil, nodePorts, node, nil},
		{"node port is masqueraded", service("web", "10.96.0.10", nodePort), []*discoveryv1.EndpointSlice{slice("a", 8080, there)}, nodePorts, node,
			[]string{setMark, "goto svc", toOne + "10.1.1.2:8080"}},
		{"external IP is masqueraded", service("web", "10.96.0.10", externalIP), []*discoveryv1.EndpointSlice{slice("a", 8080, there)}, serviceIPs, "203.0.113.7 . tcp . 80",
			[]string{setMark, "goto svc", toOne + "10.1.1.2:8080"}},
		{"external policy Local with one here", service("web", "10.96.0.10", nodePort, externalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, here, there)}, nodePorts, node,
			[]string{
				"ip saddr { 10.1.0.0/24 } goto svc", toOne + "numgen random mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.1.2 . 8080 }",
				"fib saddr type local " + setMark + " goto svc", "goto loc", toOne + "10.1.0.2:8080",
			}},
		{"external policy Local with none here", service("web", "10.96.0.10", nodePort, externalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, there)}, nodePorts, node, localElsewhere},
		{"external policy Local takes the terminating one here", service("web", "10.96.0.10", nodePort, externalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, endpoint("10.1.0.2", "here", isTerminating), there)}, nodePorts, node,
			[]string{
				"ip saddr { 10.1.0.0/24 } goto svc", toOne + "10.1.1.2:8080",
				"fib saddr type local " + setMark + " goto svc", "goto loc", toOne + "10.1.0.2:8080",
			}},
		{"external policy leaves the cluster IP alone", service("web", "10.96.0.10", nodePort, externalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, there)}, serviceIPs, cluster,
			[]string{toOne + "10.1.1.2:8080"}},
		{"internal policy Local with one here", service("web", "10.96.0.10", internalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, here, there)}, serviceIPs, cluster,
			[]string{toOne + "10.1.0.2:8080"}},
		{"internal policy Local with none here", service("web", "10.96.0.10", internalLocal), []*discoveryv1.EndpointSlice{slice("a", 8080, there)}, serviceIPs, cluster,
			[]string{"drop"}},
		{"internal policy Local with none at all", service("web", "10.96.0.10", internalLocal), nil, serviceIPs, cluster, []string{"goto reject-all"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			of := map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "default", Name: "web"}: tc.slices}
			c := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{tc.svc}, of)
			verdict, ok := c.elements[tc.in][tc.key]
			if ok != (tc.want != nil) {
				t.Fatalf("%s has %q: %v; it has %v", tc.in, tc.key, ok, c.elements[tc.in])
			}
			if !ok {
				return
			}
			if got := follow(c, verdict, map[string]bool{}); !slices.Equal(got, tc.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

var testNode = nodeFacts{name: "here", podCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, bridged: true}

func TestLoadBalancer(t *testing.T) {
	s := service("web", "10.96.0.10", func(s *corev1.ServiceSpec) {
		s.Type = corev1.ServiceTypeLoadBalancer
		s.LoadBalancerSourceRanges = []string{"198.51.100.0/24"}
	})
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{IP: "203.0.113.1"}, {IP: "203.0.113.2", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)},
	}
	of := map[types.NamespacedName][]*discoveryv1.EndpointSlice{
		{Namespace: "default", Name: "web"}: {slice("a", 8080, endpoint("10.1.0.2", "here", isReady))},
	}
	c := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{s}, of)
	want := []string{"ip saddr 198.51.100.0/24 goto ext", setMark, "goto svc", toOne + "10.1.0.2:8080", "drop"}
	if got := follow(c, c.elements[serviceIPs]["203.0.113.1 . tcp . 80"], map[string]bool{}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := c.elements[serviceIPs]["203.0.113.2 . tcp . 80"]; ok {
		t.Error("the address of a balancer in proxy mode is short-circuited")
	}
}

func TestAnAddressStaysWithTheFirstService(t *testing.T) {
	ext := func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"203.0.113.7"} }
	a, z := service("a", "10.96.0.1", ext), service("z", "10.96.0.2", ext)
	x := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{a, z}, nil).elements[serviceIPs]
	y := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{z, a}, nil).elements[serviceIPs]
	key := "203.0.113.7 . tcp . 80"
	alone := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{a}, nil).elements[serviceIPs][key]
	if x[key] != alone || y[key] != alone || alone == "" {
		t.Errorf("got %q and %q, want %q whatever the order", x[key], y[key], alone)
	}
}

func TestWhatIsMasqueraded(t *testing.T) {
	of := map[types.NamespacedName][]*discoveryv1.EndpointSlice{
		{Namespace: "default", Name: "web"}: {slice("a", 8080, endpoint("10.1.0.2", "here", isReady), endpoint("10.1.1.2", "there", isReady))},
	}
	unknown := testNode
	unknown.podCIDRs = nil
	for _, tc := range []struct {
		name   string
		node   nodeFacts
		chain  string
		rule   string
		wanted bool
	}{
		{"who is no pod of this node", testNode, "services", "ip daddr @cluster-ips ip saddr != { 10.1.0.0/24 } " + setMark, true},
		{"nobody while the pods' range is unknown", unknown, "services", setMark, false},
		{"pods of one bridge", testNode, "postrouting", "ip saddr { 10.1.0.0/24 } ip daddr { 10.1.0.0/24 } masquerade", true},
		{"not where bridged packets pass the IP hooks", nodeFacts{name: "here", podCIDRs: testNode.podCIDRs}, "postrouting", "ip daddr { 10.1.0.0/24 }", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := desired(corev1.IPv4Protocol, tc.node, []*corev1.Service{service("web", "10.96.0.10")}, of)
			rules := strings.Join(c.chains[tc.chain].rules, "\n")
			if strings.Contains(rules, tc.rule) != tc.wanted {
				t.Errorf("%q in chain %s: want %v\n%s", tc.rule, tc.chain, tc.wanted, rules)
			}
			if got := c.elements[hairpin]; len(got) != 1 || got["10.1.0.2 . 10.1.0.2"] != "" {
				t.Errorf("hairpin has %v, want the endpoint on this node", got)
			}
		})
	}
}

func TestUDPFlowsOfServicesLedElsewhereAreForgotten(t *testing.T) {
	dns := service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolUDP })
	with := func(ips ...string) *contents {
		s := slice("a", 53)
		s.Ports[0].Protocol = ptr.To(corev1.ProtocolUDP)
		for _, ip := range ips {
			s.Endpoints = append(s.Endpoints, endpoint(ip, "here", isReady))
		}
		return desired(corev1.IPv4Protocol, testNode, []*corev1.Service{dns}, map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "default", Name: "web"}: {s}})
	}
	if got := udpChanged(with("10.1.0.2"), with("10.1.0.2")); len(got) != 0 {
		t.Errorf("nothing changed, got %v", got)
	}
	got := udpChanged(with("10.1.0.2"), with("10.1.0.3"))
	to := netip.MustParseAddrPort("10.96.0.10:80")
	if !slices.Equal(got[to], []netip.AddrPort{netip.MustParseAddrPort("10.1.0.3:53")}) {
		t.Errorf("got %v", got)
	}
	if got, ok := udpChanged(with("10.1.0.2"), newContents())[to]; !ok || got != nil {
		t.Errorf("a service that is gone: %v, %v", got, ok)
	}
}
