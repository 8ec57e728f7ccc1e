package core

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// stored is a store of services.
type stored struct {
	mu      sync.Mutex
	objects map[string]map[string]any
}

func (s *stored) Get(context.Context, runtimeschema.GroupResource, string, string) (map[string]any, error) {
	return nil, nil
}

func (s *stored) List(context.Context, runtimeschema.GroupResource, string) ([]map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, o := range s.objects {
		out = append(out, o)
	}
	return out, nil
}

func newService(name string, spec map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": name, "namespace": "n"}, "spec": spec}
}

func create(s *services, st *stored, name string, spec map[string]any) (map[string]any, error) {
	o := newService(name, spec)
	r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: name, Object: o, Reader: st}
	defaultService(r)
	if err := s.prepare(context.Background(), r); err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.objects[name] = o
	return o, nil
}

func testServices(t interface{ Fatal(...any) }, cidr string, first, last int) (*services, *stored) {
	s, err := newServices(Options{ServiceCIDRs: []string{cidr}, NodePortMin: first, NodePortMax: last})
	if err != nil {
		t.Fatal(err)
	}
	return s, &stored{objects: map[string]map[string]any{}}
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
		s.now = func() time.Time { return clock }
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
				delete(st.objects, rapid.SampledFrom(names).Draw(t, "name"))
			},
			"wait": func(*rapid.T) { clock = clock.Add(2 * settle) },
			"": func(t *rapid.T) {
				ips, used := map[string]string{}, map[int64]string{}
				for name, o := range st.objects {
					ip := tree.Str(tree.Map(o, "spec"), "clusterIP")
					n := tree.Int0(tree.Object(tree.List(tree.Map(o, "spec"), "ports")[0]), "nodePort")
					if ips[ip] != "" || used[n] != "" || ip == "" || n == 0 {
						t.Fatalf("%s has %s and %d, as have %q and %q", name, ip, n, ips[ip], used[n])
					}
					ips[ip], used[n] = name, name
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

func TestAllocatorRange(t *testing.T) {
	a := newAllocator([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}, 1, 1)
	for ip, want := range map[string]error{
		"10.0.0.0": errNotInRange, "10.0.0.1": nil, "10.0.0.2": nil, "10.0.0.3": errNotInRange, "10.0.0.4": errNotInRange, "::1": errNotInRange,
	} {
		if err := a.address(netip.MustParseAddr(ip), "x"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", ip, err, want)
		}
	}
	if _, err := a.nextAddress(a.ranges[0], ""); !errors.Is(err, errExhausted) {
		t.Errorf("a full range gives %v", err)
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
