package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ClockEnv names the file that a program built with ClockOverlay takes its clock's offset
// from: nanoseconds, eight bytes, in the machine's order.
const ClockEnv = "ROBUSTNESS_CLOCK"

// What the overlay adds to Go's package time.
const clockSource = `package time

import (
	"syscall"
	"unsafe"
)

var wallOffset = new(int64)

func init() {
	path, ok := syscall.Getenv("` + ClockEnv + `")
	if !ok {
		return
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("` + ClockEnv + `: " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + ClockEnv + `: " + err.Error())
	}
	wallOffset = (*int64)(unsafe.Pointer(&b[0]))
}

func shiftWall(sec int64, nsec int32) (int64, int32) {
	if n := int64(nsec) + *wallOffset%1e9; n < 0 {
		return sec + *wallOffset/1e9 - 1, int32(n + 1e9)
	} else if n >= 1e9 {
		return sec + *wallOffset/1e9 + 1, int32(n - 1e9)
	} else {
		return sec + *wallOffset/1e9, int32(n)
	}
}
`

// ClockOverlay writes a file for go build's -overlay by which time.Now takes an offset from a
// file: the wall clock jumps, and what measures durations does not, as on a machine whose
// clock is set.
func ClockOverlay(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	b, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const call = "sec, nsec, mono := runtimeNow()"
	if strings.Count(string(b), call) == 0 {
		return "", fmt.Errorf("Go's %s/time.go has changed: it has no %q", source, call)
	}
	b = []byte(strings.ReplaceAll(string(b), call, call+"\n\tsec, nsec = shiftWall(sec, nsec)"))
	patched, added, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "offset.go"), filepath.Join(dir, "overlay.json")
	o, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(source, "time.go"): patched, filepath.Join(source, "zz_offset.go"): added,
	}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(os.WriteFile(patched, b, 0o600), os.WriteFile(added, []byte(clockSource), 0o600), os.WriteFile(overlay, o, 0o600))
}

// clockPath has the offset of the server's clock.
func (s *Server) clockPath() string { return filepath.Join(s.dir, "clock") }

// SetClock sets how far the server's wall clock is off, now and after its next start.
func (s *Server) SetClock(offset time.Duration) error {
	f, err := os.OpenFile(s.clockPath(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := binary.NativeEndian.AppendUint64(nil, uint64(offset))
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// Missing says what this machine lacks to run clusters; empty if nothing.
func Missing() string {
	if os.Getuid() != 0 {
		return "network namespaces need root"
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return "nft (package nftables)"
	}
	if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
		return "/dev/fuse"
	}
	ns, err := newNamespace()
	if err != nil {
		return "network namespaces: " + err.Error()
	}
	if err := ns.Close(); err != nil {
		return err.Error()
	}
	return ""
}
