package core

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// stored is a store of services and of what belongs to them, by resource and name.
type stored struct {
	mu      sync.Mutex
	objects map[string]map[string]any
	others  map[string]map[string]any
	uids    int
	// fails is the error of each create, if any.
	fails error
}

func key(gr runtimeschema.GroupResource, name string) string { return gr.Resource + "/" + name }

func (s *stored) Get(_ context.Context, gr runtimeschema.GroupResource, _, name string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gr.Resource == "services" {
		return s.objects[name], nil
	}
	return s.others[key(gr, name)], nil
}

func (s *stored) List(_ context.Context, gr runtimeschema.GroupResource, _ string) ([]map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, o := range s.objects {
		if gr.Resource == "services" {
			out = append(out, o)
		}
	}
	for k, o := range s.others {
		if strings.HasPrefix(k, gr.Resource+"/") {
			out = append(out, o)
		}
	}
	return out, nil
}

func (s *stored) Create(_ context.Context, gr runtimeschema.GroupResource, o map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta := tree.Map(o, "metadata")
	k := key(gr, tree.Str(meta, "name"))
	if s.fails != nil {
		return s.fails
	}
	if s.others[k] != nil {
		return apierrors.NewAlreadyExists(gr, tree.Str(meta, "name"))
	}
	s.uids++
	meta["uid"] = strconv.Itoa(s.uids)
	s.others[k] = o
	return nil
}

func (s *stored) Delete(_ context.Context, gr runtimeschema.GroupResource, _, name, uid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.others[key(gr, name)]
	if o == nil || tree.Str(tree.Map(o, "metadata"), "uid") != uid {
		return apierrors.NewNotFound(gr, name)
	}
	delete(s.others, key(gr, name))
	return nil
}

// addresses are the names of the IPAddress objects.
func (s *stored) addresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.others {
		if name, ok := strings.CutPrefix(k, "ipaddresses/"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func newService(name string, spec map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": name, "namespace": "n"}, "spec": spec}
}

// write takes a service the way of a request: nil removes it.
func write(s *services, st *stored, name string, o map[string]any) error {
	ctx := context.Background()
	old, _ := st.Get(ctx, servicesResource, "n", name)
	r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: name, Object: o, Old: old, Reader: st}
	if old != nil {
		r.Operation = resource.Update
	}
	op := r.Operation
	if o == nil {
		op = resource.Delete
	} else {
		defaultService(r)
		if err := s.prepare(ctx, r); err != nil {
			return err
		}
	}
	end, err := s.Begin(ctx, r, op)
	if err != nil {
		return err
	}
	st.mu.Lock()
	if o == nil {
		delete(st.objects, name)
	} else {
		st.objects[name] = o
	}
	st.mu.Unlock()
	if end == nil {
		return nil
	}
	if err := end(ctx, nil); err != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		delete(st.objects, name)
		return err
	}
	return nil
}

func create(s *services, st *stored, name string, spec map[string]any) (map[string]any, error) {
	o := newService(name, spec)
	return o, write(s, st, name, o)
}

func testServices(t interface{ Fatal(...any) }, cidr string, first, last int) (*services, *stored) {
	st := &stored{objects: map[string]map[string]any{}, others: map[string]map[string]any{}}
	s, err := newServices(Options{ServiceCIDRs: strings.Split(cidr, ","), NodePortMin: first, NodePortMax: last, Creator: st})
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func ports(n ...int64) []any {
	var out []any
	for _, p := range n {
		out = append(out, map[string]any{"port": int64(80), "nodePort": p})
	}
	return out
}

// TestAllocationIsUnique lets services come and go over small ranges: no two that exist
// at once have an address or a port in common, and what is free can be had.
func TestAllocationIsUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, st := testServices(t, "10.0.0.0/28", 30000, 30007)
		clock := time.Unix(0, 0)
		s.ports.now = func() time.Time { return clock }
		names := []string{"a", "b", "c", "d", "e", "f"}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				if st.objects[name] != nil {
					t.Skip("exists")
				}
				spec := map[string]any{"type": "NodePort", "ports": []any{map[string]any{"port": int64(80)}}}
				if rapid.Bool().Draw(t, "asks") {
					spec["clusterIP"] = netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 14).Draw(t, "ip"))}).String()
				}
				_, err := create(s, st, name, spec)
				if err != nil && spec["clusterIP"] == nil && len(st.objects) < 6 {
					t.Fatalf("nothing left for %d services: %v", len(st.objects)+1, err)
				}
			},
			"delete": func(t *rapid.T) {
				if name := rapid.SampledFrom(names).Draw(t, "name"); st.objects[name] != nil {
					if err := write(s, st, name, nil); err != nil {
						t.Fatal(err)
					}
				}
			},
			"change": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				if st.objects[name] == nil {
					t.Skip("no such service")
				}
				spec := map[string]any{"type": "ExternalName", "externalName": "x"}
				if rapid.Bool().Draw(t, "back") {
					spec = map[string]any{"type": "NodePort", "ports": []any{map[string]any{"port": int64(80)}}}
				}
				if err := write(s, st, name, newService(name, spec)); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) {
				// Another server goes on with what is stored.
				other, _ := testServices(t, "10.0.0.0/28", 30000, 30007)
				other.creator, other.ports.now = st, s.ports.now
				s = other
			},
			"wait": func(*rapid.T) { clock = clock.Add(2 * settle) },
			"": func(t *rapid.T) {
				ips, used := map[string]string{}, map[int64]string{}
				var want []string
				for name, o := range st.objects {
					spec := tree.Map(o, "spec")
					if !needsIP(spec) {
						continue
					}
					ip := tree.Str(spec, "clusterIP")
					n := tree.Int0(tree.Object(tree.List(spec, "ports")[0]), "nodePort")
					if ips[ip] != "" || used[n] != "" || ip == "" || n == 0 {
						t.Fatalf("%s has %s and %d, as have %q and %q", name, ip, n, ips[ip], used[n])
					}
					ips[ip], used[n] = name, name
					want = append(want, ip)
				}
				slices.Sort(want)
				if have := st.addresses(); !slices.Equal(have, want) {
					t.Fatalf("there are IPAddresses %v, services have %v", have, want)
				}
			},
		})
	})
}

func TestAllocationFromManySides(t *testing.T) {
	s, st := testServices(t, "10.0.0.0/24", 30000, 30099)
	var wg sync.WaitGroup
	errs := make(chan error, 50)
	for i := range 50 {
		wg.Go(func() {
			_, err := create(s, st, string(rune('A'+i)), map[string]any{"type": "NodePort", "ports": []any{map[string]any{"port": int64(80)}}})
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, o := range st.objects {
		ip := tree.Str(tree.Map(o, "spec"), "clusterIP")
		if seen[ip] {
			t.Errorf("%s was given out twice", ip)
		}
		seen[ip] = true
	}
}

func TestAllocatorGivesBack(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spec   map[string]any
		dryRun bool
	}{
		{"a dry run", map[string]any{"clusterIP": "10.0.0.5", "ports": ports(0)}, true},
		{"a port out of range", map[string]any{"clusterIP": "10.0.0.5", "type": "NodePort", "ports": ports(80)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, st := testServices(t, "10.0.0.0/24", 30000, 30010)
			r := &resource.Request{Operation: resource.Create, Namespace: "n", Object: newService("x", tc.spec), Reader: st, DryRun: tc.dryRun}
			defaultService(r)
			if err := s.prepare(context.Background(), r); (err == nil) != tc.dryRun {
				t.Fatalf("error %v", err)
			}
			if _, err := create(s, st, "y", map[string]any{"clusterIP": "10.0.0.5", "ports": ports(0)}); err != nil {
				t.Errorf("the address is not free again: %v", err)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.0/30")
	for ip, want := range map[string]bool{
		"10.0.0.0": false, "10.0.0.1": true, "10.0.0.2": true, "10.0.0.3": false, "10.0.0.4": false, "::1": false,
	} {
		if got := usable(p, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	for cidr, want := range map[string][2]uint64{
		"10.0.0.0/32": {0, 0}, "10.0.0.0/30": {2, 0}, "10.0.0.0/28": {14, 0}, "10.0.0.0/27": {30, 16}, "10.0.0.0/24": {254, 16},
		"10.0.0.0/16": {65534, 256}, "fd00::/64": {1<<64 - 1, 256}, "fd00::/126": {3, 0}, "fd00::/112": {65535, 256},
	} {
		p := netip.MustParsePrefix(cidr)
		if got := [2]uint64{hosts(p), staticPart(p)}; got != want {
			t.Errorf("%s: hosts and static part %v, want %v", cidr, got, want)
		}
	}
}

func serviceCIDR(name string, deleted bool, ready string, cidrs ...string) map[string]any {
	meta := map[string]any{"name": name}
	if deleted {
		meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	}
	o := map[string]any{"metadata": meta, "spec": map[string]any{"cidrs": tree.Of(cidrs...)}}
	if ready != "" {
		o["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": ready}}}
	}
	return o
}

// Addresses come from the ServiceCIDRs that are ready, the configured range before others.
func TestServiceCIDRs(t *testing.T) {
	for _, tc := range []struct {
		name string
		asks string
		with []map[string]any
		want string // prefix of the address, or part of the error
	}{
		{"none at all", "", nil, "10.0.0."},
		{"the configured one first", "", []map[string]any{serviceCIDR("a", false, "True", "10.9.0.0/24"), serviceCIDR("kubernetes", false, "True", "10.0.0.0/24")}, "10.0.0."},
		{"the configured one is full", "", []map[string]any{serviceCIDR("a", false, "", "10.9.0.0/24"), serviceCIDR("kubernetes", false, "True", "10.0.0.0/32")}, "10.9.0."},
		{"terminating", "", []map[string]any{serviceCIDR("kubernetes", true, "True", "10.0.0.0/24")}, "failed to allocate a serviceIP for Service \"x\": range is full"},
		{"not ready", "", []map[string]any{serviceCIDR("kubernetes", false, "False", "10.0.0.0/24")}, "range is full"},
		{"asked for, in another", "10.9.0.7", []map[string]any{serviceCIDR("a", false, "True", "10.9.0.0/24"), serviceCIDR("kubernetes", false, "True", "10.0.0.0/24")}, "10.9.0.7"},
		{"asked for, in none", "10.9.0.7", []map[string]any{serviceCIDR("kubernetes", false, "True", "10.0.0.0/24")}, "failed to allocate IP 10.9.0.7: the provided network does not match the current range"},
		{"asked for, terminating", "10.0.0.7", []map[string]any{serviceCIDR("kubernetes", true, "True", "10.0.0.0/24")}, "the provided network does not match the current range"},
		{"asked for, somebody's", "10.0.0.7", []map[string]any{serviceCIDR("kubernetes", false, "True", "10.0.0.0/24")}, "failed to allocate IP 10.0.0.7: provided IP is already allocated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, st := testServices(t, "10.0.0.0/24", 30000, 30010)
			for _, o := range tc.with {
				st.others[key(serviceCIDRsResource, tree.Str(tree.Map(o, "metadata"), "name"))] = o
			}
			if strings.HasSuffix(tc.name, "somebody's") {
				st.others[key(ipAddressesResource, tc.asks)] = map[string]any{}
			}
			spec := map[string]any{"ports": ports(0)}
			if tc.asks != "" {
				spec["clusterIP"] = tc.asks
			}
			o, err := create(s, st, "x", spec)
			got := tree.Str(tree.Map(o, "spec"), "clusterIP")
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// A write that fails leaves no addresses; one whose outcome is not known leaves them to the
// controller that repairs.
func TestAFailedWriteGivesBack(t *testing.T) {
	failed := errors.New("no")
	for name, tc := range map[string]struct {
		write, address error
		left           int
	}{
		"done":                       {nil, nil, 2},
		"failed":                     {failed, nil, 0},
		"uncertain":                  {resource.ErrUncertain, nil, 2},
		"the address failed":         {nil, failed, 0},
		"both":                       {failed, failed, 0},
		"the address was taken then": {nil, apierrors.NewAlreadyExists(ipAddressesResource, "x"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, st := testServices(t, "10.0.0.0/24,fd00::/112", 30000, 30010)
			st.fails = tc.address
			o := newService("x", map[string]any{"type": "NodePort", "ipFamilyPolicy": "RequireDualStack", "ports": ports(30005)})
			r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: "x", Object: o, Reader: st}
			defaultService(r)
			if err := s.prepare(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			end, err := s.Begin(t.Context(), r, resource.Create)
			if err != nil {
				t.Fatal(err)
			}
			if tc.write == nil && tc.address == nil {
				st.objects["x"] = o
			}
			if err := end(t.Context(), tc.write); (err != nil) != (tc.address != nil) {
				t.Errorf("error %v", err)
			}
			if got := st.addresses(); len(got) != tc.left {
				t.Errorf("there are %v", got)
			}
			st.fails = nil
			if _, err := create(s, st, "y", map[string]any{"type": "NodePort", "ports": ports(30005)}); (err != nil) != (tc.write == nil && tc.address == nil || tc.left == 2) {
				t.Errorf("the port for another: %v", err)
			}
		})
	}
}

// An object that somebody makes between Begin and the write of the address: who has asked for
// the address hears so, who has not may try again.
func TestARaceForAnAddress(t *testing.T) {
	taken := func(err error) bool {
		return apierrors.IsInvalid(err) && strings.Contains(err.Error(), errTaken.Error())
	}
	for asks, is := range map[string]func(error) bool{"10.0.0.7": taken, "": apierrors.IsServerTimeout} {
		s, st := testServices(t, "10.0.0.0/24", 30000, 30010)
		st.fails = apierrors.NewAlreadyExists(ipAddressesResource, "x")
		spec := map[string]any{"ports": ports(0)}
		if asks != "" {
			spec["clusterIP"] = asks
		}
		if _, err := create(s, st, "x", spec); !is(err) || len(st.objects) > 0 {
			t.Errorf("asking for %q: %v; there are %d services", asks, err, len(st.objects))
		}
	}
}

// What a service has of two families comes and goes with its policy.
func TestFamiliesOfOneLife(t *testing.T) {
	s, st := testServices(t, "10.0.0.0/24,fd00::/112", 30000, 30010)
	spec := func(policy string) map[string]any {
		return map[string]any{"ports": ports(0), "ipFamilyPolicy": policy}
	}
	for i, step := range []struct {
		policy string
		n      int
	}{{"SingleStack", 1}, {"PreferDualStack", 2}, {"RequireDualStack", 2}, {"SingleStack", 1}} {
		if _, err := create(s, st, "x", spec(step.policy)); err != nil {
			t.Fatal(i, err)
		}
		have := tree.Strings(tree.Map(st.objects["x"], "spec"), "clusterIPs")
		slices.Sort(have)
		if got := st.addresses(); len(got) != step.n || !slices.Equal(got, have) {
			t.Errorf("step %d, %s: the service has %v, there are %v", i, step.policy, have, got)
		}
	}
}

// Both protocols of one port get one node port.
func TestSharedNodePort(t *testing.T) {
	s, st := testServices(t, "10.0.0.0/24", 30000, 30010)
	o, err := create(s, st, "x", map[string]any{"type": "NodePort", "ports": []any{
		map[string]any{"name": "a", "port": int64(53), "protocol": "UDP"}, map[string]any{"name": "b", "port": int64(53), "protocol": "TCP"}}})
	if err != nil {
		t.Fatal(err)
	}
	l := tree.List(tree.Map(o, "spec"), "ports")
	if a, b := tree.Object(l[0])["nodePort"], tree.Object(l[1])["nodePort"]; a != b {
		t.Errorf("%v and %v", a, b)
	}
}

func TestAllocationFailsWithTheReader(t *testing.T) {
	s, _ := testServices(t, "10.0.0.0/24", 1, 2)
	r := &resource.Request{Operation: resource.Create, Namespace: "n", Object: newService("x", map[string]any{"ports": ports(0)}), Reader: broken{}}
	defaultService(r)
	if err := s.prepare(context.Background(), r); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Get(context.Context, runtimeschema.GroupResource, string, string) (map[string]any, error) {
	return nil, errBroken
}

func (broken) List(context.Context, runtimeschema.GroupResource, string) ([]map[string]any, error) {
	return nil, errBroken
}
