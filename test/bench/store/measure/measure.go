// Package measure reads what processes and directories use from the kernel, and sums up
// latencies. It knows neither side of a comparison.
package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks per second of the times in /proc/PID/stat: USER_HZ, 100 on every Linux that Go
// supports.
const ticks = 100

// CPU is the processor time that processes have used, all threads, user and system.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name in parentheses may have spaces; utime and stime are fields 14 and 15.
		_, rest, _ := bytes.Cut(b, []byte(") "))
		f := strings.Fields(string(rest))
		if len(f) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
		}
		for _, v := range f[11:13] {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			sum += time.Duration(n) * time.Second / ticks
		}
	}
	return sum, nil
}

// PSS is the proportional memory of processes in bytes.
func PSS(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		kib, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

// Anonymous is the part of PSS that is not pages of files, which the kernel takes back when it
// needs them.
func Anonymous(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		kib, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss_Anon:")
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

// Written is how many bytes of the page cache processes have made dirty, as the kernel counts
// them (write_bytes). It counts whole folios, so a small write into a file of which much was
// read ahead counts as a large one: it is an upper bound of what reaches the disk.
func Written(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		n, err := field(fmt.Sprintf("/proc/%d/io", pid), "write_bytes:")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// field is the first number after a name in a file of the proc file system.
func field(file, name string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// Disk is what the files under directories occupy. Files that vanish meanwhile count as
// nothing.
func Disk(dirs ...string) (int64, error) {
	var sum int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				var info fs.FileInfo
				if info, err = d.Info(); err == nil {
					sum += info.Sys().(*syscall.Stat_t).Blocks * 512
				}
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// Sync is the median time of writing 1 KiB to a file in dir and making it durable.
func Sync(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 1024)
	var took []time.Duration
	for range 50 {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return Percentile(took, 50), nil
}

// Percentile p of durations, which it sorts; 0 where there are none.
func Percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)*p/100, len(d)-1)]
}
