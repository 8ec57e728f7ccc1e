package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/pintle-dev/pintle/test/bench/store/measure"
)

var (
	inflights  = []int{1, 32, 256}
	topologies = []int{1, 3}
)

// inProcess is a side of the store's of its own, where the work is done in the leader's process.
const inProcess = "store API"

// plan says how much is done.
type plan struct {
	keys    int
	slice   time.Duration
	profile string
	// objects says that values are like objects rather than random.
	objects bool
}

// row is what one work gave on one side.
type row struct {
	Members      int     `json:"members"`
	Work         string  `json:"work"`
	InFlight     int     `json:"inFlight"`
	Side         string  `json:"side"`
	Ops          int     `json:"ops"`
	PerSecond    float64 `json:"perSecond"`
	P50Micros    float64 `json:"p50Micros"`
	P99Micros    float64 `json:"p99Micros"`
	CPUMicros    float64 `json:"cpuMicrosPerOp"`
	PerCPUSecond float64 `json:"perCpuSecond"`
	OpsPerEntry  float64 `json:"opsPerLogEntry,omitempty"`
	// ClientCPUMicros is what the client uses for an operation, where it is not in the same
	// process.
	ClientCPUMicros float64 `json:"clientCpuMicrosPerOp"`
	ServerCPUUsed   float64 `json:"serverCpuShare"`
	PSSBytes        int64   `json:"pssBytes"`
}

// total is what a side used over a whole topology.
type total struct {
	Members int    `json:"members"`
	Side    string `json:"side"`
	// Writes are those of the whole topology, loading included.
	Writes int `json:"writes"`
	usage
}

// results is everything, as the JSON file has it.
type results struct {
	Machine machine `json:"machine"`
	// Values says what was written.
	Values string  `json:"values"`
	Rows   []row   `json:"rows"`
	Totals []total `json:"totals"`
}

func compare(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	etcd := flags.String("etcd", "etcd", "the etcd binary, a path or a name in PATH")
	dir := flags.String("dir", os.TempDir(), "where both sides keep their data; it decides what fsync costs")
	out := flags.String("o", "store", "name of the files for the results, without .md and .json")
	quick := flags.Bool("quick", false, "a short run: everything is exercised, the figures are rough")
	objects := flags.Bool("objects", false, "values like Kubernetes objects, which compress, in place of random bytes")
	only := flags.String("only", "", "one work instead of all: put, get, range or watch")
	at := flags.Int("at", 0, "one number in flight instead of 1, 32 and 256")
	members := flags.Int("members", 0, "one topology instead of 1 and 3 members")
	profile := flags.String("cpuprofile", "", "name for CPU profiles of the store's first member (.1 and .3 are appended)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		works = []string{*only}
	}
	if *at != 0 {
		inflights = []int{*at}
	}
	if *members != 0 {
		topologies = []int{*members}
	}
	binary, err := exec.LookPath(*etcd)
	if err != nil {
		return fmt.Errorf("%w (make etcd builds it)", err)
	}
	p := plan{keys: 10_000, slice: 1500 * time.Millisecond, profile: *profile, objects: *objects}
	res := results{Values: "random bytes"}
	if p.objects {
		res.Values = "text like that of Kubernetes objects"
	}
	if *quick {
		p.keys, p.slice = 2_000, 250*time.Millisecond
	}
	tmp, err := os.MkdirTemp(*dir, "bench-store-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if res.Machine, err = thisMachine(ctx, binary, tmp); err != nil {
		return err
	}
	for _, members := range topologies {
		if err := p.topology(ctx, &res, binary, filepath.Join(tmp, fmt.Sprint(members)), members); err != nil {
			return fmt.Errorf("%d members: %w", members, err)
		}
	}
	if res.Machine.LoadAfter, err = load(); err != nil {
		return err
	}
	return res.write(*out)
}

// topology runs all work on both sides, which live at the same time and work in turns.
func (p plan) topology(ctx context.Context, res *results, etcd, dir string, members int) (err error) {
	var sides []*cluster
	defer func() {
		for _, c := range sides {
			err = errors.Join(err, c.stop())
		}
	}()
	for name, profile := range map[string]string{"store": p.profile, inProcess: ""} {
		ours, err := startStore(ctx, name, dir, members, profile)
		if err != nil {
			return err
		}
		sides = append(sides, ours)
	}
	theirs, err := startEtcd(ctx, etcd, dir, members)
	if err != nil {
		return err
	}
	sides = append(sides, theirs)
	totals := map[string]*total{}
	for _, c := range sides {
		c.objects = p.objects
		totals[c.name] = &total{Members: members, Side: c.name, Writes: p.keys}
		if err := c.preload(ctx, p.keys); err != nil {
			return err
		}
	}
	for _, work := range works {
		for _, inflight := range inflights {
			fmt.Fprintf(os.Stderr, "%d members, %s, %d in flight\n", members, work, inflight)
			rows, err := p.turns(ctx, sides, totals, work, inflight)
			if err != nil {
				return fmt.Errorf("%s, %d in flight: %w", work, inflight, err)
			}
			for i := range rows {
				rows[i].Members = members
			}
			res.Rows = append(res.Rows, rows...)
		}
	}
	for _, c := range sides {
		peak := totals[c.name].PeakPSSBytes
		u, err := c.usage()
		if err != nil {
			return err
		}
		totals[c.name].usage = u
		totals[c.name].PeakPSSBytes = max(peak, u.PSSBytes)
		res.Totals = append(res.Totals, *totals[c.name])
	}
	return nil
}

// turns runs one work on the sides in the order A B B A, so that what drifts on the
// machine meanwhile hits both.
func (p plan) turns(ctx context.Context, sides []*cluster, totals map[string]*total, work string, inflight int) ([]row, error) {
	sums := map[string]*slice{}
	back := slices.Clone(sides)
	slices.Reverse(back)
	for _, c := range append(slices.Clone(sides), back...) {
		do := c.do
		if c.driver != nil {
			if work == "watch" {
				continue
			}
			do = c.drive
		}
		s, err := do(ctx, work, inflight, p.keys, p.slice)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		if sums[c.name] == nil {
			sums[c.name] = &slice{}
		}
		sums[c.name].add(s)
		pss, err := measure.PSS(c.pids...)
		if err != nil {
			return nil, err
		}
		sums[c.name].pss = pss
		totals[c.name].PeakPSSBytes = max(totals[c.name].PeakPSSBytes, pss)
	}
	var rows []row
	for _, c := range sides {
		s := sums[c.name]
		if s == nil {
			continue
		}
		switch work {
		case "put":
			totals[c.name].Writes += s.ops
		case "watch":
			totals[c.name].Writes += s.ops / watchers
		}
		rows = append(rows, s.row(c.name, work, inflight))
	}
	return rows, nil
}

func (s *slice) row(side, work string, inflight int) row {
	r := row{
		Work: work, InFlight: inflight, Side: side, Ops: s.ops, PSSBytes: s.pss,
		PerSecond:     float64(s.ops) / s.elapsed.Seconds(),
		P50Micros:     micros(measure.Percentile(s.latencies, 50)),
		P99Micros:     micros(measure.Percentile(s.latencies, 99)),
		ServerCPUUsed: s.cpu.Seconds() / s.elapsed.Seconds(),
	}
	if s.ops > 0 {
		r.CPUMicros = micros(s.cpu) / float64(s.ops)
		r.ClientCPUMicros = micros(s.client) / float64(s.ops)
	}
	if s.cpu > 0 {
		r.PerCPUSecond = float64(s.ops) / s.cpu.Seconds()
	}
	if work == "put" && s.entries > 0 {
		r.OpsPerEntry = float64(s.ops) / float64(s.entries)
	}
	return r
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
