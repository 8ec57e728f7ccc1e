package serviceproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// servicePort is one port of a service on its way into the table.
type servicePort struct {
	*builder
	backends
	proto    string // as nft writes it
	id       string // distinguishes its chains
	title    string // for readers of the rule set
	affinity time.Duration
}

// publish leads an address to a chain, unless another service has it.
func (p *servicePort) publish(ip netip.Addr, port int32, to string) {
	key := fmt.Sprintf("%s . %s . %d", ip, p.proto, port)
	if _, taken := p.elements[serviceIPs][key]; taken {
		return
	}
	p.elements[serviceIPs][key] = "goto " + to
	p.track(ip, port)
}

// track remembers where UDP traffic to an address may go.
func (p *servicePort) track(ip netip.Addr, port int32) {
	if p.proto == "udp" {
		p.udp[netip.AddrPortFrom(ip, uint16(port))] = p.all //nolint:gosec // the API checks the range
	}
}

func (p *servicePort) add(prefix string, rules ...string) string {
	p.chains[prefix+p.id] = chain{comment: p.title, rules: rules}
	return prefix + p.id
}

// balance makes the chain that spreads connections over endpoints, and refuses them where
// there are none. It is the only chain that changes when endpoints do.
func (p *servicePort) balance(prefix string, to []netip.AddrPort) string {
	if len(to) == 0 {
		return p.add(prefix, "goto reject-all")
	}
	if p.affinity > 0 {
		return p.sticky(prefix, to)
	}
	return p.add(prefix, p.translate(to))
}

// translate is the rule that sends a connection to one of the endpoints by chance.
func (p *servicePort) translate(to []netip.AddrPort) string {
	rule := "meta l4proto " + p.proto + " dnat " + p.ip + " to "
	if len(to) == 1 {
		return rule + to[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%snumgen random mod %d map { ", rule, len(to))
	for i, ap := range to {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d : %s . %d", i, ap.Addr(), ap.Port())
	}
	b.WriteString(" }")
	return b.String()
}

// sticky remembers for each endpoint which clients it has. The time is part of the names,
// because a set's can't be changed.
func (p *servicePort) sticky(prefix string, to []netip.AddrPort) string {
	var rules, verdicts []string
	for i, ap := range to {
		id := digest(p.id, ap.String(), p.affinity.String())
		p.affinityOf("aff-" + id)
		p.chains["ep-"+id] = chain{comment: p.title, rules: []string{
			fmt.Sprintf("update @aff-%s { %s saddr }", id, p.ip),
			p.translate([]netip.AddrPort{ap}),
		}}
		rules = append(rules, fmt.Sprintf("%s saddr @aff-%s goto ep-%s", p.ip, id, id))
		verdicts = append(verdicts, strconv.Itoa(i)+" : goto ep-"+id)
	}
	rules = append(rules, fmt.Sprintf("numgen random mod %d vmap { %s }", len(to), strings.Join(verdicts, ", ")))
	return p.add(prefix, rules...)
}

func (p *servicePort) affinityOf(set string) { p.contents.affinity[set] = p.affinity }

// localOnly makes the chain for a traffic policy of Local: the node's own endpoints, and
// silence where only other nodes have some, so that a balancer looks elsewhere.
func (p *servicePort) localOnly() string {
	switch {
	case len(p.local) > 0:
		return p.balance("loc-", p.local)
	case len(p.all) > 0:
		return p.add("loc-", "drop")
	default:
		return p.add("loc-", "goto reject-all")
	}
}

// external makes the chain for what comes from outside. The source is rewritten, so that
// answers come back through this node, unless only endpoints on it are taken.
func (p *servicePort) external(local bool, all string) string {
	if !local {
		return p.add("ext-", setMark, "goto "+all)
	}
	// Policy is for those outside: pods and processes of the node reach all endpoints.
	var rules []string
	if p.pods != "" {
		rules = append(rules, fmt.Sprintf("%s saddr %s goto %s", p.ip, p.pods, all))
	}
	rules = append(rules,
		"fib saddr type local "+setMark+" goto "+all,
		"goto "+p.localOnly(),
	)
	return p.add("ext-", rules...)
}

// firewall makes the chain before a balancer's address that lets only some sources through.
func (p *servicePort) firewall(ranges []string, to string) string {
	if len(ranges) == 0 {
		return to
	}
	var own []string
	for _, r := range ranges {
		if c, err := netip.ParsePrefix(strings.TrimSpace(r)); err == nil && p.mine(c.Addr()) {
			own = append(own, c.Masked().String())
		}
	}
	if len(own) == 0 {
		return p.add("fw-", "drop")
	}
	slices.Sort(own)
	// Overlapping ranges would be refused in one set.
	rules := make([]string, 0, len(own)+1)
	for _, c := range slices.Compact(own) {
		rules = append(rules, fmt.Sprintf("%s saddr %s goto %s", p.ip, c, to))
	}
	return p.add("fw-", append(rules, "drop")...)
}
