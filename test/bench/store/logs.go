package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/test/bench/store/measure"
	"github.com/pintle-dev/pintle/test/bench/store/raftlog"
)

// logRow is one log under one load.
type logRow struct {
	Kind     string `json:"kind"`
	InFlight int    `json:"inFlight"`
	loaded
	// SyncsPerEntry counts fsync, fdatasync and msync in a run of its own; negative where
	// there is no strace.
	SyncsPerEntry float64 `json:"syncsPerEntry"`
	reopened
}

// loaded is what the loading process says.
type loaded struct {
	Writes       int64   `json:"writes"`
	Entries      uint64  `json:"entries"`
	Seconds      float64 `json:"seconds"`
	CPUSeconds   float64 `json:"cpuSeconds"`
	WrittenBytes int64   `json:"writtenBytes"`
	PSSBytes     int64   `json:"pssBytes"`
	DiskBytes    int64   `json:"diskBytes"`
	Acked        uint64  `json:"acked"`
}

// reopened is what the process that opens the log after the kill says.
type reopened struct {
	OpenMillis     float64 `json:"openMillis"`
	ReadMillis     float64 `json:"readMillis"`
	ReadEntries    int     `json:"readEntries"`
	ReadBytes      int64   `json:"readBytes"`
	Last           uint64  `json:"last"`
	ReopenPSSBytes int64   `json:"reopenPssBytes"`
}

func compareLogs(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("logs", flag.ContinueOnError)
	dir := flags.String("dir", os.TempDir(), "where the logs are; it decides what fsync costs")
	out := flags.String("o", "logs", "name of the files for the results, without .md and .json")
	quick := flags.Bool("quick", false, "a short run: everything is exercised, the figures are rough")
	if err := flags.Parse(args); err != nil {
		return err
	}
	length := 5 * time.Second
	if *quick {
		length = time.Second
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(*dir, "bench-logs-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	var res logResults
	if res.Machine, err = thisMachine(ctx, "", tmp); err != nil {
		return err
	}
	res.Seconds = length.Seconds()
	for _, inflight := range inflights {
		for _, kind := range raftlog.Kinds {
			fmt.Fprintf(os.Stderr, "%s, %d in flight\n", kind, inflight)
			r, err := oneLog(ctx, self, tmp, kind, inflight, length)
			if err != nil {
				return fmt.Errorf("%s, %d in flight: %w", kind, inflight, err)
			}
			res.Rows = append(res.Rows, r)
		}
	}
	if res.Machine.LoadAfter, err = load(); err != nil {
		return err
	}
	return res.write(*out)
}

// oneLog loads a log in a process of its own, kills that while it writes, and opens what
// is left in another.
func oneLog(ctx context.Context, self, tmp, kind string, inflight int, length time.Duration) (r logRow, err error) {
	r = logRow{Kind: kind, InFlight: inflight}
	dir := filepath.Join(tmp, fmt.Sprintf("%s-%d", kind, inflight))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	loader := exec.CommandContext(ctx, self, loadArgs(kind, dir, inflight, length)...)
	loader.Stderr = os.Stderr
	loader.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := loader.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := loader.Start(); err != nil {
		return r, err
	}
	lines := bufio.NewReader(stdout)
	line, readErr := lines.ReadBytes('\n')
	// The process goes on writing: this is the power button.
	killErr := loader.Process.Kill()
	if waitErr := loader.Wait(); readErr != nil {
		return r, fmt.Errorf("the loader said nothing: %w", errors.Join(readErr, waitErr))
	}
	if err := errors.Join(killErr, json.Unmarshal(line, &r.loaded)); err != nil {
		return r, err
	}
	opened, err := exec.CommandContext(ctx, self, "logopen", "-kind", kind, "-dir", dir).Output()
	if err != nil {
		return r, fmt.Errorf("opening it after the kill: %w", err)
	}
	if err := json.Unmarshal(opened, &r.reopened); err != nil {
		return r, err
	}
	if r.Last < r.Acked {
		return r, fmt.Errorf("the log ends at %d after the kill, and %d was acknowledged", r.Last, r.Acked)
	}
	r.SyncsPerEntry, err = countSyncs(ctx, self, filepath.Join(tmp, "traced"), kind, inflight, length/4)
	return r, err
}

func loadArgs(kind, dir string, inflight int, length time.Duration) []string {
	return []string{"logload", "-kind", kind, "-dir", dir, "-inflight", strconv.Itoa(inflight), "-length", length.String()}
}

// syncLine is a line of strace's summary: share, seconds, µs per call, calls, perhaps
// errors, name.
var syncLine = regexp.MustCompile(`(?m)^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync|msync)$`)

// countSyncs loads a log once more under strace, which slows it, and counts.
func countSyncs(ctx context.Context, self, dir, kind string, inflight int, length time.Duration) (_ float64, err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return -1, nil
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(dir+".count")) }()
	args := append([]string{"-f", "-c", "-o", dir + ".count", "-e", "trace=fsync,fdatasync,msync", self},
		append(loadArgs(kind, dir, inflight, length), "-stop")...)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, strace, args...)
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("under strace: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var l loaded
	if err := json.Unmarshal(said, &l); err != nil {
		return 0, err
	}
	summary, err := os.ReadFile(dir + ".count")
	if err != nil {
		return 0, err
	}
	calls := 0
	for _, m := range syncLine.FindAllSubmatch(summary, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return 0, err
		}
		calls += n
	}
	return float64(calls) / float64(max(l.Acked, 1)), nil
}

// logLoad is the loading process. It prints what was measured, and then goes on writing
// until it is killed, unless it is told to stop.
func logLoad(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("logload", flag.ContinueOnError)
	kind := flags.String("kind", "", "kind of log")
	dir := flags.String("dir", "", "directory of the log")
	inflight := flags.Int("inflight", 1, "writers")
	length := flags.Duration("length", time.Second, "how long is measured")
	stop := flags.Bool("stop", false, "end in order after the measured time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := raftlog.Open(*kind, *dir)
	if err != nil {
		return err
	}
	s, err := raftlog.Start(ctx, l, raftlog.Load{SnapshotEvery: max(*length/8, 100*time.Millisecond), Keep: 256})
	if err != nil {
		return err
	}
	writing, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() { done <- s.Write(writing, *inflight) }()
	figures := func() (loaded, error) {
		me := os.Getpid()
		out := loaded{Writes: s.Writes(), Entries: s.Acked(), Acked: s.Acked()}
		cpu, err := measure.CPU(me)
		if err != nil {
			return out, err
		}
		out.CPUSeconds = cpu.Seconds()
		if out.WrittenBytes, err = measure.Written(me); err != nil {
			return out, err
		}
		if out.PSSBytes, err = measure.PSS(me); err != nil {
			return out, err
		}
		out.DiskBytes, err = measure.Disk(*dir)
		return out, err
	}
	before, err := figures()
	if err != nil {
		return err
	}
	start := time.Now()
	select {
	case <-time.After(*length):
	case err := <-done:
		return fmt.Errorf("writing ended early: %w", err)
	}
	after, err := figures()
	if err != nil {
		return err
	}
	after.Seconds = time.Since(start).Seconds()
	after.Writes -= before.Writes
	after.Entries -= before.Entries
	after.CPUSeconds -= before.CPUSeconds
	after.WrittenBytes -= before.WrittenBytes
	if *stop {
		end()
		if err := errors.Join(<-done, s.Close()); err != nil {
			return err
		}
		after.Acked = s.Acked()
	}
	line, err := json.Marshal(after)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	if *stop {
		return nil
	}
	return <-done
}

// logOpen opens a log that was left behind, and reads all of it.
func logOpen(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("logopen", flag.ContinueOnError)
	kind := flags.String("kind", "", "kind of log")
	dir := flags.String("dir", "", "directory of the log")
	if err := flags.Parse(args); err != nil {
		return err
	}
	start := time.Now()
	l, err := raftlog.Open(*kind, *dir)
	if err != nil {
		return err
	}
	var r reopened
	r.OpenMillis = micros(time.Since(start)) / 1e3
	start = time.Now()
	if r.ReadEntries, r.ReadBytes, r.Last, err = raftlog.Read(l); err != nil {
		return errors.Join(err, l.Close())
	}
	r.ReadMillis = micros(time.Since(start)) / 1e3
	if r.ReopenPSSBytes, err = measure.PSS(os.Getpid()); err != nil {
		return errors.Join(err, l.Close())
	}
	line, err := json.Marshal(r)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Println(string(line))
	return l.Close()
}
