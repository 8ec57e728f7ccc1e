package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhatIsSyncedSurvives does random things to files and folders and takes the power:
// what was synced and not changed since is there.
func TestWhatIsSyncedSurvives(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { trial(t, seed) })
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("FAULTFS_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// serve starts faultfs as a process of its own: one that waits for its own pages would wait
// for itself.
func serve(t *testing.T, dir string, strict bool) (mount string, say func(Command) Answer) {
	t.Helper()
	mount = filepath.Join(dir, "mount")
	for _, d := range []string{filepath.Join(dir, "files"), mount} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	control := filepath.Join(dir, "c")
	cmd := exec.Command(os.Args[0], "-backing", filepath.Join(dir, "files"), "-mount", mount,
		"-trash", filepath.Join(dir, "trash"), "-control", control, fmt.Sprintf("-strict=%t", strict))
	cmd.Env = append(os.Environ(), "FAULTFS_MAIN=1")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(mount, unix.MNT_DETACH)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var (
		conn net.Conn
		err  error
	)
	for deadline := time.Now().Add(10 * time.Second); conn == nil; {
		if conn, err = net.Dial("unix", control); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = conn.Close() })
	in := json.NewDecoder(conn)
	return mount, func(c Command) (a Answer) {
		if err := json.NewEncoder(conn).Encode(c); err != nil {
			t.Fatal(err)
		}
		if err := in.Decode(&a); err != nil || a.Error != "" {
			t.Fatal(err, a.Error)
		}
		return a
	}
}

func trial(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	dir, err := os.MkdirTemp("", "faultfs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mount, say := serve(t, dir, seed%2 == 0)
	durable, now := map[string][]byte{}, map[string][]byte{}
	for range 120 {
		step(t, r, mount, durable, now)
	}
	t.Logf("%+v", say(Command{Crash: &Crash{Seed: seed, Lose: []float64{0.3, 1}[r.IntN(2)]}}))
	for name, b := range durable {
		got, err := os.ReadFile(filepath.Join(dir, "files", name))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s was synced with %d bytes and has %d: %v", name, len(b), len(got), err)
		}
	}
}

// step changes something. durable has the files whose content and name are synced and
// unchanged since.
func step(t *testing.T, r *rand.Rand, mount string, durable, now map[string][]byte) {
	name := fmt.Sprintf("f%d", r.IntN(4))
	path := filepath.Join(mount, name)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	content, exists := now[name]
	n := r.IntN(10)
	if !exists {
		n = 0
	}
	switch n {
	case 0, 1, 2, 3: // write somewhere, through a map of the file or not
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		must(err)
		defer f.Close()
		b := make([]byte, 1+r.IntN(20000))
		for i := range b {
			b[i] = byte(1 + r.IntN(255))
		}
		at := r.IntN(len(content) + 5000)
		size := max(len(content), at+len(b))
		if r.IntN(2) == 0 {
			must(f.Truncate(int64(size)))
			m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(err)
			copy(m[at:], b)
			must(unix.Munmap(m))
		} else {
			_, err = f.WriteAt(b, int64(at))
			must(err)
		}
		content = append(bytes.Clone(content), make([]byte, size-len(content))...)
		copy(content[at:], b)
		now[name] = content
		delete(durable, name)
	case 4: // cut
		size := r.IntN(len(content) + 1)
		must(os.Truncate(path, int64(size)))
		now[name] = bytes.Clone(content[:size])
		delete(durable, name)
	case 5: // remove
		must(os.Remove(path))
		delete(now, name)
		delete(durable, name)
	case 6: // rename
		to := fmt.Sprintf("f%d", r.IntN(4))
		if to == name {
			return
		}
		must(os.Rename(path, filepath.Join(mount, to)))
		now[to] = content
		delete(now, name)
		delete(durable, to)
		delete(durable, name)
	default: // sync file and folder
		for _, p := range []string{path, mount} {
			f, err := os.Open(p)
			must(err)
			must(f.Sync())
			must(f.Close())
		}
		got, err := os.ReadFile(path)
		must(err)
		if !bytes.Equal(got, content) {
			t.Fatalf("%s has %d bytes and should have %d", name, len(got), len(content))
		}
		durable[name] = content
	}
}
