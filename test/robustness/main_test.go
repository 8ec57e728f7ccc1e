package robustness

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/build"
	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

var (
	seed     = flag.Uint64("seed", 0, "seed of the first run; 0 takes the time")
	runs     = flag.Int("runs", 5, "number of runs, with seeds that follow each other")
	duration = flag.Duration("duration", 8*time.Second, "how long faults are made in each run")
	servers  = flag.Int("servers", 3, "servers in a cluster")
	only     = flag.String("faults", "", "regular expression of the faults to make; empty: all")
	built    = flag.String("pintle", "", "a built pintle to test instead of one built now")
	faultfs  = flag.String("faultfs", "", "a built faultfs")
	clock    = flag.Bool("clock", false, "clocks can jump: build with, or -pintle is, such a program (a build of everything, minutes)")
	mutant   = flag.String("mutant", "", "mistake to build in, which the runs have to find")
	out      = flag.String("out", "", "folder for what is left of runs that failed; empty: a temporary one")
	tries    = flag.Int("tries", 0, "tries of the failover test; 0 leaves it out")
)

// programs under test.
var programs struct {
	pintle, faultfs string
	// jumps says that pintle's clock can be set.
	jumps bool
	// missing is what this machine lacks.
	missing string
}

func TestMain(m *testing.M) {
	cluster.Enter()
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "robustness:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	if programs.missing = cluster.Missing(); programs.missing != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "pintle-r")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if *faultfs != "" {
		programs.faultfs, err = filepath.Abs(*faultfs)
	} else {
		programs.faultfs = filepath.Join(dir, "faultfs")
		err = build.Program(context.Background(), "faultfs", ".", programs.faultfs, nil, "")
	}
	if err != nil {
		return 0, err
	}
	programs.jumps = *clock
	programs.pintle = filepath.Join(dir, "pintle")
	if *built != "" {
		programs.pintle, err = filepath.Abs(*built)
		return m.Run(), err
	}
	edits, env := build.Hasty, ""
	if *mutant != "" {
		mistake, err := build.Mutant(*mutant)
		if err != nil {
			return 0, err
		}
		edits = append(edits[:len(edits):len(edits)], mistake...)
	}
	if *clock {
		env = cluster.ClockEnv
	}
	if err := build.Program(context.Background(), "../..", "./cmd/pintle", programs.pintle, edits, env); err != nil {
		return 0, err
	}
	return m.Run(), nil
}
