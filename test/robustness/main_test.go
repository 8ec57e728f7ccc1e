package robustness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

var (
	seed     = flag.Uint64("seed", 0, "seed of the first run; 0 takes the time")
	runs     = flag.Int("runs", 5, "number of runs, with seeds that follow each other")
	duration = flag.Duration("duration", 10*time.Second, "how long faults are made in each run")
	servers  = flag.Int("servers", 3, "servers in a cluster")
	only     = flag.String("faults", "", "regular expression of the faults to make; empty: all")
	built    = flag.String("pintle", "", "a built pintle to test instead of one built now")
	faultfs  = flag.String("faultfs", "", "a built faultfs")
	clock    = flag.String("clock", "", "\"build\": also build a pintle whose clock can jump; or the path of one")
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
	if programs.faultfs, err = program(*faultfs, dir, "faultfs", "faultfs", "."); err != nil {
		return 0, err
	}
	switch *clock {
	case "":
		programs.pintle, err = program(*built, dir, "pintle", "../..", "./cmd/pintle")
	case "build":
		programs.jumps = true
		var overlay string
		if overlay, err = cluster.ClockOverlay(dir); err == nil {
			programs.pintle, err = program("", dir, "pintle", "../..", "-overlay", overlay, "./cmd/pintle")
		}
	default:
		programs.jumps = true
		programs.pintle, err = program(*clock, dir, "", "")
	}
	if err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// program is the built one, or is built in folder.
func program(built, dir, name, folder string, args ...string) (string, error) {
	if built != "" {
		return filepath.Abs(built)
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, args...)...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, b)
	}
	return path, nil
}
