package serviceproxy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/knftables"
)

// The table's maps and sets. Keys are written as nft writes them.
const (
	serviceIPs = "service-ips" // address . protocol . port → verdict
	nodePorts  = "node-ports"  // protocol . port → verdict
	clusterIPs = "cluster-ips" // addresses that are nothing but services
	hairpin    = "hairpin"     // endpoint . itself
)

// masqueradeMark is the bit in a packet's mark that asks for masquerading on the way out.
// It is the one that is in common use for it, and is cleared again.
const masqueradeMark = "0x4000"

// nodeFacts are what of a node decides about its rules.
type nodeFacts struct {
	name string
	// podCIDRs are the ranges of the pods on this node; none while they are not known.
	podCIDRs []netip.Prefix
	// bridged says that packets between pods of this node do not pass the kernel's IP hooks,
	// so that the way back of a translated connection must be led through the node.
	bridged bool
}

// chain is a chain's rules and what a reader of the rule set is told about it.
type chain struct {
	comment string
	rules   []string
}

// contents are what a table holds.
type contents struct {
	chains   map[string]chain
	elements map[string]map[string]string // map or set → key → verdict, "" in a set
	affinity map[string]time.Duration     // sets of clients of one endpoint → how long they stay
	// udp maps each address of a UDP service to where its traffic may go. A node port has no
	// address. Not in the table: connection tracking is cleared by it.
	udp map[netip.AddrPort][]netip.AddrPort
}

func newContents() *contents {
	return &contents{
		chains:   map[string]chain{},
		elements: map[string]map[string]string{serviceIPs: {}, nodePorts: {}, clusterIPs: {}, hairpin: {}},
		affinity: map[string]time.Duration{},
		udp:      map[netip.AddrPort][]netip.AddrPort{},
	}
}

// builder makes the contents for one address family.
type builder struct {
	*contents
	family corev1.IPFamily
	ip     string // "ip" or "ip6" in rules
	node   nodeFacts
	pods   string // the node's pod ranges in a rule, empty while not known
}

// desired is what the table of a family must hold.
func desired(family corev1.IPFamily, node nodeFacts, services []*corev1.Service, endpointSlices map[types.NamespacedName][]*discoveryv1.EndpointSlice) *contents {
	b := &builder{contents: newContents(), family: family, ip: string(nftFamily(family)), node: node}
	var ranges []string
	for _, c := range node.podCIDRs {
		if b.mine(c.Addr()) {
			ranges = append(ranges, c.Masked().String())
		}
	}
	slices.Sort(ranges)
	if ranges = slices.Compact(ranges); len(ranges) > 0 {
		b.pods = "{ " + strings.Join(ranges, ", ") + " }"
	}
	b.base()
	// Where two services claim one address, it stays with the first by name.
	services = slices.Clone(services)
	slices.SortFunc(services, func(x, y *corev1.Service) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	for _, s := range services {
		if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		for i := range s.Spec.Ports {
			b.port(s, &s.Spec.Ports[i], endpointSlices[key])
		}
	}
	return b.contents
}

func (b *builder) mine(ip netip.Addr) bool {
	return ip.IsValid() && ip.Unmap().Is4() == (b.family == corev1.IPv4Protocol)
}

// addresses parses those of the builder's family.
func (b *builder) addresses(in ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		if ip, err := netip.ParseAddr(s); err == nil && b.mine(ip) && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

const setMark = "meta mark set meta mark or " + masqueradeMark

// base are the chains that are there whatever services there are.
func (b *builder) base() {
	services := []string{}
	if b.pods != "" {
		// What is not a pod of this node may have no way back but through it.
		services = append(services, fmt.Sprintf("%s daddr @%s %s saddr != %s %s", b.ip, clusterIPs, b.ip, b.pods, setMark))
	}
	loopback := "127.0.0.0/8"
	if b.family == corev1.IPv6Protocol {
		loopback = "::1"
	}
	services = append(services,
		fmt.Sprintf("%s daddr . meta l4proto . th dport vmap @%s", b.ip, serviceIPs),
		fmt.Sprintf("%s daddr @%s goto reject-all", b.ip, clusterIPs),
		// Loopback destinations would need route_localnet, which opens the node's loopback
		// services to its neighbours.
		fmt.Sprintf("fib daddr type local %s daddr != %s meta l4proto . th dport vmap @%s", b.ip, loopback, nodePorts),
	)
	b.chains["services"] = chain{rules: services}
	// The hooks of translation see only the first packet of a connection, and a rejected
	// one leaves no connection: refusing costs nothing to the others.
	b.chains["reject-all"] = chain{rules: []string{"meta l4proto tcp reject with tcp reset", "reject"}}
	masquerade := []string{
		fmt.Sprintf("meta mark and %s != 0 meta mark set meta mark xor %s masquerade fully-random", masqueradeMark, masqueradeMark),
		fmt.Sprintf("ct status dnat %s saddr . %s daddr @%s masquerade fully-random", b.ip, b.ip, hairpin),
	}
	if b.node.bridged && b.pods != "" {
		masquerade = append(masquerade, fmt.Sprintf("ct status dnat %s saddr %s %s daddr %s masquerade fully-random", b.ip, b.pods, b.ip, b.pods))
	}
	b.chains["prerouting"] = chain{rules: []string{"jump services"}}
	b.chains["output"] = chain{rules: []string{"jump services"}}
	b.chains["postrouting"] = chain{rules: masquerade}
}

// port adds one port of a service.
func (b *builder) port(s *corev1.Service, port *corev1.ServicePort, endpointSlices []*discoveryv1.EndpointSlice) {
	ips := b.addresses(append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...)...)
	if len(ips) == 0 {
		return // not of this family
	}
	p := servicePort{
		builder: b, backends: backendsOf(port, endpointSlices, b.family, b.node.name),
		proto: strings.ToLower(string(protocolOf(port))),
		id:    digest(s.Namespace, s.Name, string(protocolOf(port)), strconv.Itoa(int(port.Port))),
		title: s.Namespace + "/" + s.Name + ":" + port.Name,
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		p.affinity = 3 * time.Hour // the API's default
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			p.affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	for _, ip := range p.own {
		b.elements[hairpin][ip.String()+" . "+ip.String()] = ""
	}
	all := p.balance("svc-", p.all)
	internal := all
	if ptr.Deref(s.Spec.InternalTrafficPolicy, "") == corev1.ServiceInternalTrafficPolicyLocal {
		internal = p.localOnly()
	}
	for _, ip := range ips {
		b.elements[clusterIPs][ip.String()] = ""
		p.publish(ip, port.Port, internal)
	}
	external := b.addresses(s.Spec.ExternalIPs...)
	var balanced []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		// A balancer in proxy mode must be gone through.
		if ptr.Deref(in.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			balanced = append(balanced, b.addresses(in.IP)...)
		}
	}
	if port.NodePort == 0 && len(external) == 0 && len(balanced) == 0 {
		return
	}
	outside := p.external(s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal, all)
	for _, ip := range external {
		p.publish(ip, port.Port, outside)
	}
	for _, ip := range balanced {
		p.publish(ip, port.Port, p.firewall(s.Spec.LoadBalancerSourceRanges, outside))
	}
	if port.NodePort != 0 {
		b.elements[nodePorts][fmt.Sprintf("%s . %d", p.proto, port.NodePort)] = "goto " + outside
		p.track(netip.Addr{}, port.NodePort)
	}
}

// digest is a short name for what is too long for one.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:10])
}

// base chains, which hang on the kernel's hooks.
var hooks = []knftables.Chain{
	{Name: "prerouting", Type: ptr.To(knftables.NATType), Hook: ptr.To(knftables.PreroutingHook), Priority: ptr.To(knftables.DNATPriority)},
	{Name: "output", Type: ptr.To(knftables.NATType), Hook: ptr.To(knftables.OutputHook), Priority: ptr.To(knftables.DNATPriority)},
	{Name: "postrouting", Type: ptr.To(knftables.NATType), Hook: ptr.To(knftables.PostroutingHook), Priority: ptr.To(knftables.SNATPriority)},
}
