package serviceproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/knftables"
)

// table is one nftables table and what was last written to it.
type table struct {
	nft    knftables.Interface
	family knftables.Family
	name   string
	// written is nil where it is not known: at the start and after an error.
	written *contents
}

func newTable(family knftables.Family, name string) (*table, error) {
	nft, err := knftables.New(family, name)
	if err != nil {
		return nil, fmt.Errorf("nftables table %s %s: %w (install nftables)", family, name, err)
	}
	return &table{nft: nft, family: family, name: name}, nil
}

// forget makes the next sync read the table again instead of believing what was written.
func (t *table) forget() { t.written = nil }

// sync makes the table hold what is wanted, in one transaction in which only what differs
// is written. Where the table is not known it is read first; what is in it is kept as far
// as it is right, and a table of another shape is replaced.
func (t *table) sync(ctx context.Context, want *contents) error {
	have := t.written
	t.written = nil
	if have != nil && t.write(ctx, have, want, partly) == nil {
		t.written = want
		return nil
	}
	// Not known, or not what was believed.
	have, err := t.read(ctx)
	if err != nil {
		return err
	}
	if err = t.write(ctx, have, want, whole); err != nil && ctx.Err() == nil {
		err = t.write(ctx, newContents(), want, anew)
	}
	if err != nil {
		return fmt.Errorf("writing nftables table %s %s: %w", t.family, t.name, err)
	}
	t.written = want
	return nil
}

// extent is how much of a table is written.
type extent int

const (
	partly extent = iota // only what differs
	whole                // also what never changes
	anew                 // into a new table that replaces the old
)

func (t *table) write(ctx context.Context, have, want *contents, much extent) error {
	tx := t.nft.NewTransaction()
	if much != partly {
		tx.Add(&knftables.Table{Comment: ptr.To("services of a cluster")})
		if much == anew {
			tx.Delete(&knftables.Table{})
			tx.Add(&knftables.Table{Comment: ptr.To("services of a cluster")})
		}
		t.skeleton(tx)
	}
	for _, name := range missing(want.affinity, have.affinity) {
		tx.Add(&knftables.Set{
			Name: name, Type: t.addrType(), Flags: []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag},
			Timeout: ptr.To(want.affinity[name]),
		})
	}
	// Chains are there before rules go to them.
	for _, name := range missing(want.chains, have.chains) {
		if !isHook(name) {
			tx.Add(describe(name, want.chains[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.chains)) {
		if slices.Equal(want.chains[name].rules, have.chains[name].rules) {
			continue
		}
		if _, there := have.chains[name]; there {
			tx.Flush(&knftables.Chain{Name: name})
		}
		for _, r := range want.chains[name].rules {
			tx.Add(&knftables.Rule{Chain: name, Rule: r})
		}
	}
	for _, in := range slices.Sorted(maps.Keys(want.elements)) {
		diffElements(tx, in, have.elements[in], want.elements[in])
	}
	goneChains, goneSets := missing(have.chains, want.chains), missing(have.affinity, want.affinity)
	for _, name := range goneChains {
		tx.Flush(&knftables.Chain{Name: name})
	}
	if tx.NumOperations() > 0 {
		if err := t.nft.Run(ctx, tx); err != nil {
			return err
		}
	}
	// What nothing leads to any more goes after: the kernel counts references only once a
	// transaction is through.
	tx = t.nft.NewTransaction()
	for _, name := range goneChains {
		tx.Delete(&knftables.Chain{Name: name})
	}
	for _, name := range goneSets {
		tx.Delete(&knftables.Set{Name: name})
	}
	if tx.NumOperations() == 0 {
		return nil
	}
	return t.nft.Run(ctx, tx)
}

// skeleton adds what never changes.
func (t *table) skeleton(tx *knftables.Transaction) {
	addr := t.addrType()
	tx.Add(&knftables.Map{Name: serviceIPs, Type: addr + " . inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Map{Name: nodePorts, Type: "inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Set{Name: clusterIPs, Type: addr})
	tx.Add(&knftables.Set{Name: hairpin, Type: addr + " . " + addr})
	for _, h := range hooks {
		tx.Add(&h)
	}
}

func (t *table) addrType() string {
	if t.family == knftables.IPv6Family {
		return "ipv6_addr"
	}
	return "ipv4_addr"
}

// read finds what is in the table. The rules of chains are not known; an affinity set is
// what its name says.
func (t *table) read(ctx context.Context) (*contents, error) {
	have := newContents()
	names := map[string][]string{}
	for _, kind := range []string{"chain", "set", "map"} {
		list, err := t.nft.List(ctx, kind)
		if knftables.IsNotFound(err) {
			return newContents(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("listing nftables table %s %s: %w", t.family, t.name, err)
		}
		names[kind] = list
	}
	for _, name := range names["chain"] {
		have.chains[name] = chain{}
	}
	for _, name := range names["set"] {
		if strings.HasPrefix(name, "aff-") {
			have.affinity[name] = time.Duration(0)
		}
	}
	for name, kind := range map[string]string{serviceIPs: "map", nodePorts: "map", clusterIPs: "set", hairpin: "set"} {
		if !slices.Contains(names[kind], name) {
			continue
		}
		list, err := t.nft.ListElements(ctx, kind, name)
		if err != nil {
			return nil, fmt.Errorf("listing %s of nftables table %s %s: %w", name, t.family, t.name, err)
		}
		for _, e := range list {
			have.elements[name][strings.Join(e.Key, " . ")] = strings.Join(e.Value, " . ")
		}
	}
	return have, nil
}

// remove deletes the table, if it is there.
func (t *table) remove(ctx context.Context) error {
	t.forget()
	tx := t.nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := t.nft.Run(ctx, tx); err != nil && !errors.Is(err, fs.ErrNotExist) && !knftables.IsNotFound(err) {
		return fmt.Errorf("removing nftables table %s %s: %w", t.family, t.name, err)
	}
	return nil
}

func diffElements(tx *knftables.Transaction, in string, have, want map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if v, ok := want[key]; !ok || v != have[key] {
			tx.Delete(element(in, key, have[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if v, ok := have[key]; !ok || v != want[key] {
			tx.Add(element(in, key, want[key]))
		}
	}
}

func element(in, key, value string) *knftables.Element {
	e := &knftables.Element{Key: strings.Split(key, " . ")}
	if in == serviceIPs || in == nodePorts {
		e.Map, e.Value = in, []string{value}
	} else {
		e.Set = in
	}
	return e
}

func describe(name string, c chain) *knftables.Chain {
	out := &knftables.Chain{Name: name}
	if c.comment != "" {
		out.Comment = ptr.To(c.comment[:min(len(c.comment), 120)]) // nft takes 128 bytes
	}
	return out
}

func isHook(name string) bool {
	return slices.ContainsFunc(hooks, func(c knftables.Chain) bool { return c.Name == name })
}

// missing are the names in a that are not in b, sorted.
func missing[V, W any](a map[string]V, b map[string]W) []string {
	var out []string
	for name := range a {
		if _, ok := b[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
