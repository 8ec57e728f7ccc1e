package store

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestHistoryKeeper(t *testing.T) {
	limits := historyLimits{window: time.Minute, revisions: 1000, bytes: 1 << 20}
	begin := time.Now()
	at := func(s int, revision, written uint64) sample {
		return sample{begin.Add(time.Duration(s) * time.Second), revision, written}
	}
	for name, tc := range map[string]struct {
		given []sample
		want  uint64
	}{
		"young":            {[]sample{at(0, 5, 0), at(30, 10, 0)}, 0},
		"old":              {[]sample{at(0, 5, 0), at(30, 10, 0), at(61, 20, 0)}, 5},
		"nobody writes":    {[]sample{at(0, 5, 0), at(30, 5, 0), at(61, 5, 0)}, 5},
		"many revisions":   {[]sample{at(0, 5, 0), at(1, 3000, 0)}, 2000},
		"many bytes":       {[]sample{at(0, 5, 0), at(1, 10, 600<<10), at(2, 20, 1200<<10)}, 5},
		"bytes in a burst": {[]sample{at(0, 5, 0), at(1, 6, 8<<20), at(2, 7, 8<<20+10)}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			var k historyKeeper
			var got uint64
			for _, s := range tc.given {
				got = max(got, k.horizon(s, limits))
			}
			if got != tc.want {
				t.Fatalf("the history is to begin at %d, want %d", got, tc.want)
			}
			if len(k.samples) > 4*sampleParts {
				t.Fatalf("%d samples", len(k.samples))
			}
		})
	}
}

// TestKeeperRemembersLittle: whatever is written, some tens of samples tell enough.
func TestKeeperRemembersLittle(t *testing.T) {
	limits := historyLimits{window: 10 * time.Minute, revisions: 1 << 40, bytes: 256 << 20}
	var k historyKeeper
	begin := time.Now()
	for i := range 20_000 {
		k.horizon(sample{begin.Add(time.Duration(i) * time.Second), uint64(i) * 3000, uint64(i) * 1000 * 3000}, limits)
		if len(k.samples) > 3*sampleParts {
			t.Fatalf("%d samples after %d s", len(k.samples), i)
		}
	}
}

// TestNoClockIsRead looks for what would make a clock that jumps matter: times that were
// stripped of Go's clock that does not jump, stored, or compared with others' times.
func TestNoClockIsRead(t *testing.T) {
	strip := regexp.MustCompile(`\.(Unix|UnixNano|UnixMilli|UnixMicro|Round|Truncate|UTC|Local)\(`)
	deadline := regexp.MustCompile(`time\.(Unix|UnixMilli|Date|Parse)\(`)
	for _, dir := range []string{".", "internal/command", "internal/fsm", "internal/engine", "internal/index", "internal/snapshot", "internal/raftlog", "internal/value"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.ParseFile(token.NewFileSet(), name, b, 0); err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(b), "\n") {
				if strings.Contains(line, "asidePrefix+time.Now().UTC()") {
					continue // The name of a directory.
				}
				if strip.MatchString(line) && strings.Contains(line, "ime") || deadline.MatchString(line) {
					t.Errorf("%s:%d depends on the time of day: %s", name, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
}
