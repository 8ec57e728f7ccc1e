package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/test/bench/store/measure"
)

// machine says where and when something was measured.
type machine struct {
	Date       string  `json:"date"`
	Cores      int     `json:"cores"`
	Model      string  `json:"model"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Etcd       string  `json:"etcd,omitempty"`
	SyncMicros float64 `json:"fdatasyncMicros"`
	LoadBefore string  `json:"loadBefore"`
	LoadAfter  string  `json:"loadAfter"`
}

// thisMachine looks around; dir is where the data will be.
func thisMachine(ctx context.Context, etcd, dir string) (m machine, err error) {
	m = machine{Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), Cores: runtime.NumCPU(), Go: runtime.Version()}
	if m.LoadBefore, err = load(); err != nil {
		return m, err
	}
	took, err := measure.Sync(dir)
	if err != nil {
		return m, err
	}
	m.SyncMicros = micros(took)
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return m, err
	}
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		m.Kernel += string(rune(c))
	}
	if etcd == "" {
		return m, nil
	}
	said, err := exec.CommandContext(ctx, etcd, "--version").Output()
	if err != nil {
		return m, fmt.Errorf("asking %s for its version: %w", etcd, err)
	}
	first, _, _ := strings.Cut(string(said), "\n")
	m.Etcd = strings.TrimSpace(strings.TrimPrefix(first, "etcd Version:"))
	return m, nil
}

func load() (string, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(b))
	return f[0], nil
}

// String is the line above the tables.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d × %s, Linux %s, %s, 1 KiB written and made durable in %.0f µs (median), load %s before and %s after.",
		m.Date, m.Cores, m.Model, m.Kernel, m.Go, m.SyncMicros, m.LoadBefore, m.LoadAfter)
}
