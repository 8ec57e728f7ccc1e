package serviceproxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/knftables"
)

// recorder keeps what was run.
type recorder struct {
	knftables.Interface
	ran []string
}

func (r *recorder) Run(ctx context.Context, tx *knftables.Transaction) error {
	r.ran = append(r.ran, tx.String())
	return r.Interface.Run(ctx, tx)
}

func testTable(t *testing.T, family knftables.Family, name string) (*table, *recorder) {
	t.Helper()
	tab, err := newTable(family, name)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Interface: tab.nft}
	tab.nft = r
	t.Cleanup(func() {
		if err := tab.remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tab, r
}

func webWith(ips ...string) *contents {
	s := slice("a", 8080)
	for _, ip := range ips {
		s.Endpoints = append(s.Endpoints, endpoint(ip, "there", isReady))
	}
	other := service("other", "10.96.0.11", func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30081 })
	return desired(corev1.IPv4Protocol, testNode, []*corev1.Service{service("web", "10.96.0.10"), other},
		map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "default", Name: "web"}: {s}})
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	tab, r := testTable(t, knftables.IPv4Family, "svc-incremental")
	for _, step := range []struct {
		name  string
		want  *contents
		lines int // of nft
	}{
		{"everything", webWith("10.1.1.2"), -1},
		{"nothing", webWith("10.1.1.2"), 0},
		{"an endpoint more: one chain is flushed and filled", webWith("10.1.1.2", "10.1.1.3"), 2},
		{"none left: the same", webWith(), 2},
	} {
		r.ran = nil
		if err := tab.sync(t.Context(), step.want); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if step.lines < 0 {
			continue
		}
		if out := strings.Join(r.ran, ""); strings.Count(out, "\n") != step.lines {
			t.Errorf("%s: want %d lines, ran\n%s", step.name, step.lines, out)
		}
	}
}

func TestATableThatOthersTouchedIsMadeRight(t *testing.T) {
	for _, tc := range []struct{ name, harm string }{
		{"removed", "delete table ip svc-touched"},
		{"emptied", "flush table ip svc-touched"},
		{"an element removed", "delete element ip svc-touched service-ips { 10.96.0.10 . tcp . 80 }"},
		{"of another shape", "delete table ip svc-touched; add table ip svc-touched; add map ip svc-touched service-ips { type ipv4_addr : verdict; }"},
		{"with more in it", "add chain ip svc-touched svc-stranger; add element ip svc-touched cluster-ips { 10.96.9.9 }"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab, _ := testTable(t, knftables.IPv4Family, "svc-touched")
			if err := tab.sync(t.Context(), webWith("10.1.1.2")); err != nil {
				t.Fatal(err)
			}
			want := sh(t, "nft", "-s", "list", "table", "ip", "svc-touched")
			sh(t, "nft", tc.harm)
			tab.forget()
			if err := tab.sync(t.Context(), webWith("10.1.1.2")); err != nil {
				t.Fatal(err)
			}
			words := func(s string) []string { // the kernel's order of chains and elements has no meaning
				return slices.Sorted(slices.Values(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == ',' })))
			}
			if got := sh(t, "nft", "-s", "list", "table", "ip", "svc-touched"); !slices.Equal(words(got), words(want)) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestAChangeToATableThatIsGoneWritesItWhole(t *testing.T) {
	tab, _ := testTable(t, knftables.IPv4Family, "svc-gone")
	if err := tab.sync(t.Context(), webWith("10.1.1.2")); err != nil {
		t.Fatal(err)
	}
	sh(t, "nft", "delete", "table", "ip", "svc-gone")
	if err := tab.sync(t.Context(), webWith("10.1.1.3")); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft", "list", "table", "ip", "svc-gone"); !strings.Contains(out, "10.1.1.3:8080") || !strings.Contains(out, "hook prerouting") {
		t.Errorf("got\n%s", out)
	}
}

// Every shape of rule, as nft takes it, in both families and for all protocols.
func TestKernelTakesAllRules(t *testing.T) {
	node := nodeFacts{name: "here", bridged: true, podCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd01::/64")}}
	for _, f := range []struct {
		family       corev1.IPFamily
		ip, ext, src string
		endpoints    []string
	}{
		{corev1.IPv4Protocol, "10.96.0.10", "203.0.113.7", "198.51.100.0/24", []string{"10.1.0.2", "10.1.1.2"}},
		{corev1.IPv6Protocol, "fd00::10", "2001:db8::7", "2001:db8:1::/48", []string{"fd01::2", "fd02::2"}},
	} {
		for _, proto := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
			for _, affinity := range []corev1.ServiceAffinity{corev1.ServiceAffinityNone, corev1.ServiceAffinityClientIP} {
				t.Run(string(f.family)+string(proto)+string(affinity), func(t *testing.T) {
					s := service("web", f.ip, func(s *corev1.ServiceSpec) {
						s.Type, s.ExternalIPs, s.SessionAffinity = corev1.ServiceTypeLoadBalancer, []string{f.ext}, affinity
						s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
						s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
						s.Ports[0].Protocol, s.Ports[0].NodePort, s.LoadBalancerSourceRanges = proto, 30080, []string{f.src}
					})
					s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: strings.Replace(f.ext, "7", "8", 1)}}
					es := slice("a", 8080, endpoint(f.endpoints[0], "here", isReady), endpoint(f.endpoints[1], "there", isReady))
					es.AddressType, es.Ports[0].Protocol = discoveryv1.AddressType(f.family), &proto
					want := desired(f.family, node, []*corev1.Service{s}, map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "default", Name: "web"}: {es}})
					if len(want.elements[serviceIPs]) != 3 {
						t.Fatalf("not all addresses: %v", want.elements[serviceIPs])
					}
					tab, r := testTable(t, nftFamily(f.family), "svc-shapes")
					if err := tab.sync(t.Context(), want); err != nil {
						t.Fatal(err)
					}
					// What was read back is what was written: nothing but rules is written again.
					tab.forget()
					r.ran = nil
					if err := tab.sync(t.Context(), want); err != nil {
						t.Fatal(err)
					}
					if out := strings.Join(r.ran, ""); len(r.ran) != 1 || strings.Contains(out, "element") || strings.Contains(out, "add set ip svc-shapes aff-") {
						t.Errorf("a resync wrote\n%s", out)
					}
				})
			}
		}
	}
}

// A UDP client that goes on sending from one port reaches the new endpoint.
func TestUDPFollowsItsEndpoints(t *testing.T) {
	sh(t, "ip", "link", "set", "lo", "up")
	listen := func(address string) {
		t.Helper()
		pc, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		go func() {
			b := make([]byte, 16)
			for {
				_, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = pc.WriteTo([]byte(address), from)
			}
		}()
	}
	sh(t, "ip", "addr", "add", "10.1.1.2/32", "dev", "lo")
	sh(t, "ip", "addr", "add", "10.1.1.3/32", "dev", "lo")
	sh(t, "ip", "route", "add", "10.96.0.0/16", "dev", "lo", "src", "10.1.1.2")
	t.Cleanup(func() {
		sh(t, "ip", "route", "del", "10.96.0.0/16", "dev", "lo")
		sh(t, "ip", "addr", "del", "10.1.1.2/32", "dev", "lo")
		sh(t, "ip", "addr", "del", "10.1.1.3/32", "dev", "lo")
	})
	listen("10.1.1.2:8080")
	listen("10.1.1.3:8080")
	tab, _ := testTable(t, knftables.IPv4Family, "svc-udp")
	var last *contents
	lead := func(ip string) {
		t.Helper()
		es := slice("a", 8080, endpoint(ip, "there", isReady))
		es.Ports[0].Protocol = ptr.To(corev1.ProtocolUDP)
		dns := service("web", "10.96.0.10", func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolUDP })
		want := desired(corev1.IPv4Protocol, testNode, []*corev1.Service{dns}, map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "default", Name: "web"}: {es}})
		if err := tab.sync(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if err := forgetFlows(corev1.IPv4Protocol, udpChanged(last, want)); err != nil {
			t.Fatal(err)
		}
		last = want
	}
	lead("10.1.1.2")
	conn, err := net.Dial("udp", "10.96.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func() (string, error) {
		if err := conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return "", err
		}
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
		b := make([]byte, 64)
		n, err := conn.Read(b)
		return string(b[:n]), err
	}
	for _, ip := range []string{"10.1.1.2", "10.1.1.3"} {
		lead(ip)
		eventually(t, func() error {
			if got, err := ask(); err != nil || got != ip+":8080" {
				return errors.Join(err, errors.New("answer of "+got+", want "+ip))
			}
			return nil
		})
	}
}
