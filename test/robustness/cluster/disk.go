package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
)

// DiskFaults are what a disk does wrong; see faultfs.
type DiskFaults struct {
	Fsync     time.Duration `json:"fsync,omitempty"`
	Free      int64         `json:"free"`
	FailFsync bool          `json:"failFsync,omitempty"`
}

// Healthy is a disk without faults.
var Healthy = DiskFaults{Free: -1}

// CrashReport says what a power failure found that was not synced, and what it took.
type CrashReport struct {
	Error                                    string `json:"error,omitempty"`
	Blocks, LostBlocks, Entries, LostEntries int
}

// Disk is a folder mounted through faultfs, in mounts of its own. Files are below dir/files
// and appear to processes in its mounts at dir/mount.
type Disk struct {
	program, dir string
	strict       bool

	mu      sync.Mutex
	cmd     *exec.Cmd
	conn    net.Conn
	in      *bufio.Scanner
	mounts  *os.File
	mounted int
}

func newDisk(program, dir string, strict bool) (*Disk, error) {
	d := &Disk{program: program, dir: dir, strict: strict}
	for _, sub := range []string{d.Files(), d.Mount()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
	}
	if err := d.newBoot(); err != nil {
		return nil, err
	}
	return d, d.mount()
}

// Files is where the files are while the disk is not mounted.
func (d *Disk) Files() string { return filepath.Join(d.dir, "files") }

// Mount is where processes in the disk's mounts see them.
func (d *Disk) Mount() string { return filepath.Join(d.dir, "mount") }

// newBoot makes the machine another one, as after a power failure: what tells a kernel that
// is still running from one that was started anew is the boot id.
func (d *Disk) newBoot() error {
	return os.WriteFile(filepath.Join(d.dir, "boot"), []byte(string(uuid.NewUUID())+"\n"), 0o600)
}

// mount starts faultfs.
func (d *Disk) mount() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mounted++
	control := filepath.Join(d.dir, fmt.Sprintf("c%d", d.mounted))
	log, err := os.OpenFile(filepath.Join(d.dir, "faultfs.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"-backing", d.Files(), "-mount", d.Mount(), "-trash", filepath.Join(d.dir, "trash"),
		"-control", control, "-boot", filepath.Join(d.dir, "boot"),
	}
	if d.strict {
		args = append(args, "-strict")
	}
	d.cmd = exec.CommandContext(context.Background(), d.program, args...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	cmd := d.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if d.conn, err = (&net.Dialer{}).DialContext(context.Background(), "unix", control); err == nil {
			break
		}
		select {
		case <-ended:
			b, _ := os.ReadFile(log.Name())
			return fmt.Errorf("faultfs ended: %s", b)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("faultfs: %w", err)
		}
	}
	d.in = bufio.NewScanner(d.conn)
	d.mounts, err = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", d.cmd.Process.Pid))
	return err
}

// do sends one command and reads its answer; last says that faultfs ends after it.
func (d *Disk) do(cmd any, last bool) (r CrashReport, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return r, errors.New("the disk is not mounted")
	}
	b, err := json.Marshal(cmd)
	if err != nil {
		return r, err
	}
	if _, err := d.conn.Write(append(b, '\n')); err != nil {
		return r, fmt.Errorf("faultfs: %w", err)
	}
	if !d.in.Scan() {
		return r, fmt.Errorf("faultfs ended at %s: %w", b, d.in.Err())
	}
	if err := json.Unmarshal(d.in.Bytes(), &r); err != nil {
		return r, err
	}
	if r.Error != "" {
		err = fmt.Errorf("faultfs: %s: %s", b, r.Error)
	}
	if last {
		err = errors.Join(err, d.conn.Close(), d.mounts.Close())
		d.conn = nil
	}
	return r, err
}

// Set gives the disk faults, or none.
func (d *Disk) Set(f DiskFaults) error {
	_, err := d.do(map[string]any{"faults": f}, false)
	return err
}

// PowerFailure takes back a random part of what was not synced, and mounts the disk again as
// on a machine that was started anew. No process may use it.
func (d *Disk) PowerFailure(seed uint64, lose float64) (CrashReport, error) {
	r, err := d.do(map[string]any{"crash": map[string]any{"seed": seed, "lose": lose}}, true)
	return r, errors.Join(err, d.newBoot(), d.mount())
}

// Offline runs do on the files while the disk is not mounted, with everything written back.
func (d *Disk) Offline(do func(files string) error) error {
	if _, err := d.do(map[string]any{"unmount": true}, true); err != nil {
		return err
	}
	return errors.Join(do(d.Files()), d.mount())
}

// Close ends faultfs.
func (d *Disk) Close() error {
	if d.conn == nil {
		return nil
	}
	_, err := d.do(map[string]any{"unmount": true}, true)
	if err != nil {
		_ = d.cmd.Process.Kill()
	}
	return err
}

// mountNamespace of the processes that use the disk; another after each mount.
func (d *Disk) mountNamespace() *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mounts
}
