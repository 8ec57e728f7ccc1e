package confine_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// do carries out "VERB:PATH" and prints what came of each: the content of what was read, else
// "" or an error.
func do(args []string) {
	out := map[string]string{}
	for _, a := range args {
		verb, path, _ := strings.Cut(a, ":")
		var err error
		var said string
		switch verb {
		case "read":
			var b []byte
			b, err = os.ReadFile(path)
			said = string(b)
		case "write":
			err = os.WriteFile(path, []byte("guest"), 0o600)
		case "setuid":
			if err = os.WriteFile(path, []byte("guest"), 0o700); err == nil {
				err = os.Chmod(path, 0o700|os.ModeSetuid)
			}
		case "dial":
			var c net.Conn
			if c, err = net.DialTimeout("unix", path, time.Second); err == nil {
				_ = c.Close()
			}
		case "mount":
			err = syscall.Mount("tmpfs", path, "tmpfs", 0, "size=1m")
		case "bind":
			from, to, _ := strings.Cut(path, ",")
			err = syscall.Mount(from, to, "", syscall.MS_BIND, "")
		case "fill":
			err = fill(path)
		case "hold":
			err = hold(path)
		}
		if err != nil {
			said = "error: " + err.Error()
		}
		out[a] = said
	}
	b, _ := json.Marshal(out)
	fmt.Println(string(b))
}

// fill writes until there is no room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 1<<20)
	for range 64 {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps a file open that has no name any more.
func hold(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 1<<20))
	if err == nil {
		err = os.Remove(path)
	}
	fmt.Println("held", err)
	_, _ = os.Stdin.Read(make([]byte, 1))
	return f.Close()
}

// did runs a guest that does things.
func (m *machine) did(t *testing.T, g confine.Guest, things ...string) map[string]string {
	t.Helper()
	_, out, err := m.run(t, g, append([]string{"do"}, things...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	must(t, json.Unmarshal([]byte(out), &got))
	return got
}

func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for what, w := range want {
		if g := got[what]; w == "error" && strings.HasPrefix(g, "error: ") || w == g {
			continue
		}
		t.Errorf("%s: %q, not %q", what, got[what], w)
	}
}

func TestGivenFilesAreUsedAsTheirOwnerDoes(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	top := filepath.Join(filepath.Dir(m.dir), "machine")
	dir, socket := filepath.Join(top, "data"), filepath.Join(top, "run.sock")
	credential, rest := filepath.Join(top, "credential"), filepath.Join(top, "rest")
	must(t, os.MkdirAll(dir, 0o700), os.Chmod(top, 0o700))
	for _, p := range []string{credential, rest, filepath.Join(dir, "there")} {
		must(t, os.WriteFile(p, []byte("secret"), 0o600))
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	must(t, err, os.Chmod(socket, 0o600))
	t.Cleanup(func() { _ = l.Close() })
	g := m.guest()
	g.Given = []confine.Given{{Path: credential}, {Path: dir, Write: true}, {Path: socket}}
	got := m.did(t, g, "read:"+credential, "write:"+credential, "read:"+rest, "read:"+dir+"/there", "write:"+dir+"/new", "setuid:"+dir+"/evil", "dial:"+socket)
	expect(t, got, map[string]string{
		"read:" + credential: "secret", "write:" + credential: "error", "read:" + rest: "error",
		"read:" + dir + "/there": "secret", "write:" + dir + "/new": "", "setuid:" + dir + "/evil": "error", "dial:" + socket: "",
	})
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "new"), &st))
	if st.Uid != 0 {
		t.Errorf("what it made belongs to %d on the machine, and its directory to root", st.Uid)
	}
	must(t, unix.Stat(credential, &st))
	if st.Uid != 0 || st.Mode&0o777 != 0o600 {
		t.Errorf("the credential is %o of %d now", st.Mode&0o777, st.Uid)
	}
	must(t, unix.Stat(filepath.Join(dir, "evil"), &st))
	if st.Mode&unix.S_ISUID != 0 {
		t.Error("it left a program that runs as root")
	}
}

// unmapped is a directory on a file system that does not map ids.
func unmapped(t *testing.T, top string) string {
	t.Helper()
	var options []string
	for _, d := range []string{"lower", "upper", "work"} {
		must(t, os.Mkdir(filepath.Join(top, d), 0o755))
		options = append(options, d+"dir="+filepath.Join(top, d))
	}
	merged := filepath.Join(top, "merged")
	must(t, os.Mkdir(merged, 0o755))
	if err := unix.Mount("overlay", merged, "overlay", 0, strings.Replace(strings.Join(options, ","), "workdir", "workdir", 1)); err != nil {
		t.Skip("no overlay: ", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(merged, 0)) })
	return merged
}

func TestGivenFilesWhereIDsAreNotMapped(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	top := unmapped(t, t.TempDir())
	credential, dir := filepath.Join(top, "credential"), filepath.Join(top, "dir")
	must(t, os.WriteFile(credential, []byte("secret"), 0o600), os.Mkdir(dir, 0o700))
	g := m.guest()
	g.Given = []confine.Given{{Path: credential}}
	expect(t, m.did(t, g, "read:"+credential, "write:"+credential), map[string]string{"read:" + credential: "secret", "write:" + credential: "error"})
	g.Given = []confine.Given{{Path: dir, Write: true}}
	if c, err := m.keeper.Open(g); err == nil {
		c.Close()
		t.Error("a directory that it can't use was given to it")
	} else if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "may not use it") {
		t.Error(err)
	}
	must(t, os.Chmod(dir, 0o777))
	expect(t, m.did(t, g, "write:"+dir+"/new"), map[string]string{"write:" + dir + "/new": ""})
}

func TestGivenFileThatIsMissing(t *testing.T) {
	m := newMachine(t, confine.Range{})
	g := m.guest()
	g.Given = []confine.Given{{Path: "/nowhere/ca.pem"}}
	if _, err := m.keeper.Open(g); err == nil || !strings.Contains(err.Error(), "file /nowhere/ca.pem: ") {
		t.Error(err)
	}
}

func TestMountsPropagateWhereGranted(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	dir := filepath.Join(t.TempDir(), "volumes")
	at, source, target := filepath.Join(dir, "one"), filepath.Join(dir, "source"), filepath.Join(dir, "target")
	must(t, os.MkdirAll(at, 0o755), os.Mkdir(source, 0o755), os.Mkdir(target, 0o755))
	g := m.guest()
	g.Given = []confine.Given{{Path: dir, Write: true}}
	expect(t, m.did(t, g, "mount:"+at), map[string]string{"mount:" + at: "error"})
	g.Capabilities = []string{"SYS_ADMIN"}
	expect(t, m.did(t, g, "mount:"+at), map[string]string{"mount:" + at: ""})
	if _, err := os.ReadFile(filepath.Join(at, "file")); err == nil {
		t.Error("a mount reached the machine without having been granted that")
	}
	g.Root, g.Propagate = true, true
	expect(t, m.did(t, g, "mount:"+at, "write:"+at+"/file", "bind:"+source+","+target, "write:"+target+"/file", "write:/etc/confine-was-here"), map[string]string{
		"mount:" + at: "", "write:" + at + "/file": "", "bind:" + source + "," + target: "", "write:" + target + "/file": "", "write:/etc/confine-was-here": "error",
	})
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	for _, p := range []string{at, source} {
		if b, err := os.ReadFile(filepath.Join(p, "file")); string(b) != "guest" {
			t.Errorf("%s on the machine: %q, %v", p, b, err)
		}
	}
	var fs unix.Statfs_t
	must(t, unix.Statfs(at, &fs))
	if fs.Type != unix.TMPFS_MAGIC {
		t.Errorf("what it has mounted is %x on the machine", fs.Type)
	}
	must(t, unix.Unmount(at, 0), unix.Unmount(target, 0))
}
