package confine_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// TestMain lets the test binary play a guest, its host, and a descendant.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "play" {
		play(os.Args[2], os.Args[3:])
		return
	}
	os.Exit(m.Run())
}

// machine is what one test of a guest has.
type machine struct {
	dir, secret, own, socket string
	keeper                   *confine.Keeper
}

func newMachine(t *testing.T, users confine.Range) *machine {
	t.Helper()
	top, err := os.MkdirTemp("", "confine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	m := &machine{dir: filepath.Join(top, "host")}
	m.own, m.socket = filepath.Join(m.dir, "plugins", "guest"), filepath.Join(m.dir, "api.sock")
	m.secret = filepath.Join(m.dir, "admin.kubeconfig")
	must(t, os.MkdirAll(m.own, 0o700), os.WriteFile(m.secret, []byte("secret"), 0o644))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", m.socket)
	must(t, err, os.Chmod(m.socket, 0o600))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_ = c.Close()
		}
	}()
	if m.keeper, err = confine.New(confine.Config{Dir: m.dir, Users: users}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, m.keeper.Close()) })
	return m
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (m *machine) guest() confine.Guest {
	exe, _ := os.Executable()
	return confine.Guest{Name: "guest", Write: []string{m.own}, Read: []string{filepath.Dir(exe), m.socket}}
}

// open makes a cell and a command in it.
func (m *machine) open(t *testing.T, g confine.Guest, args ...string) (*confine.Cell, *exec.Cmd) {
	t.Helper()
	cell, err := m.keeper.Open(g)
	must(t, err)
	t.Cleanup(cell.Close)
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, append([]string{"play"}, args...)...)
	cmd.Dir, cmd.Env = m.own, []string{}
	return cell, cmd
}

// run runs a guest to its end and returns what it wrote.
func (m *machine) run(t *testing.T, g confine.Guest, args ...string) (*confine.Cell, string, error) {
	t.Helper()
	cell, cmd := m.open(t, g, args...)
	r, w, err := os.Pipe()
	must(t, err)
	cmd.Stdout, cmd.Stderr = w, w
	err = cell.Start(cmd)
	_ = w.Close()
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	_ = r.Close()
	return cell, string(out), cmd.Wait()
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces and users need root")
	}
}

// sight is what a guest finds.
type sight struct {
	UID    int
	Groups []int
	Status map[string]string
	Tried  map[string]string // "" where it worked
	Procs  int
}

func look(args []string) {
	s := sight{UID: os.Getuid(), Status: map[string]string{}, Tried: map[string]string{}}
	s.Groups, _ = os.Getgroups()
	try := func(what string, err error) {
		s.Tried[what] = ""
		if err != nil {
			s.Tried[what] = err.Error()
		}
	}
	socket, secret, own, tcp := args[0], args[1], args[2], args[3]
	dial := func(network, address string) error {
		c, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	write := func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) }
	_, err := os.ReadFile(secret)
	try("read secret", err)
	try("own", write(filepath.Join(own, "file")))
	try("tmp", write("/tmp/confine-was-here"))
	try("etc", write("/etc/confine-was-here"))
	try("usr", write("/usr/confine-was-here"))
	try("run", write("/run/confine-was-here"))
	try("host", write(filepath.Join(filepath.Dir(secret), "file")))
	try("remount", syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND, ""))
	try("socket", dial("unix", socket))
	try("tcp", dial("tcp", tcp))
	try("null", os.WriteFile("/dev/null", nil, 0))
	runtime.LockOSThread()
	_, err = os.Stat(fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid()))
	try("its own thread", err)
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		s.Status[k] = strings.TrimSpace(v)
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			s.Procs++
		}
	}
	out, _ := json.Marshal(s)
	fmt.Println(string(out))
}

func play(kind string, args []string) {
	switch kind {
	case "look":
		look(args)
	case "leak":
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
			_ = kept
		}
	case "fork":
		n := 0
		for ; n < 200; n++ {
			if err := exec.Command("/bin/sleep", "60").Start(); err != nil {
				break
			}
		}
		fmt.Println(n)
	case "daemon": // leaves a descendant in a session of its own
		cmd := exec.Command("/proc/self/exe", "play", "sleep")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(time.Hour)
	case "host": // a host that is killed
		k, err := confine.New(confine.Config{Dir: args[0]})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		exe, _ := os.Executable()
		cell, err := k.Open(confine.Guest{Name: "guest", Write: []string{args[1]}, Read: []string{filepath.Dir(exe)}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		cmd := exec.Command(exe, "play", "daemon")
		cmd.Dir, cmd.Env = args[1], []string{"MARK=" + args[0]}
		cmd.Stdout = os.Stdout
		if err := cell.Start(cmd); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = cmd.Wait()
	case "do":
		do(args)
	case "calls":
		calls()
	case "unprivileged":
		unprivileged(args)
	}
}

func listen(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestGuestSeesAndReachesOnlyWhatItWasGiven(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{First: 1_950_000_000, Count: 1000})
	cell, out, err := m.run(t, m.guest(), "look", m.socket, m.secret, m.own, listen(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var s sight
	must(t, json.Unmarshal([]byte(out), &s))
	r := cell.Report()
	without := slices.DeleteFunc(slices.Clone(r.Skipped), func(s string) bool {
		return s == "limits of files: the host lacks CAP_SYS_RESOURCE"
	})
	if len(without) > 0 || len(r.Measures)+len(r.Skipped) != 8 {
		t.Errorf("report: %+v", r)
	}
	if s.UID != int(r.UserID) || s.UID < 1_950_000_000 || s.UID >= 1_950_001_000 || len(s.Groups) != 0 {
		t.Errorf("user %d, groups %v, report %d", s.UID, s.Groups, r.UserID)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if strings.Trim(s.Status[set], "0") != "" {
			t.Errorf("%s: %s", set, s.Status[set])
		}
	}
	if s.Status["NoNewPrivs"] != "1" {
		t.Error("it could gain privileges")
	}
	for what, works := range map[string]bool{
		"own": true, "tmp": true, "socket": true, "null": true, "its own thread": true,
		"read secret": false, "etc": false, "usr": false, "run": false, "host": false, "remount": false, "tcp": false,
	} {
		if (s.Tried[what] == "") != works {
			t.Errorf("%s: %q", what, s.Tried[what])
		}
	}
	if s.Procs > 1 {
		t.Errorf("it sees %d processes", s.Procs)
	}
	if _, err := os.Stat("/tmp/confine-was-here"); err == nil {
		t.Error("its /tmp is the host's")
	}
	if _, err := os.Stat(filepath.Join(m.own, "file")); err != nil {
		t.Error(err)
	}
}

func TestNetworkWhereAskedFor(t *testing.T) {
	m := newMachine(t, confine.Range{})
	g := m.guest()
	g.Network = true
	_, out, err := m.run(t, g, "look", m.socket, m.secret, m.own, listen(t))
	var s sight
	must(t, err, json.Unmarshal([]byte(out), &s))
	if s.Tried["tcp"] != "" {
		t.Error(s.Tried["tcp"])
	}
}

func TestMemoryLimitKillsAndIsRecognised(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	g := m.guest()
	g.Limits.MemoryBytes = 32 << 20
	cell, out, err := m.run(t, g, "leak")
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%v\n%s", err, out)
	}
	if u, ok := cell.Usage(); !ok || u.OOMKills == 0 || u.CPU == 0 {
		t.Errorf("usage: %+v %v", u, ok)
	}
	cell.Close()
	if u, ok := cell.Usage(); !ok || u.OOMKills == 0 {
		t.Errorf("usage once closed: %+v %v", u, ok)
	}
}

func TestProcessLimit(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	g := m.guest()
	g.Limits.Processes, g.Limits.MilliCPU = 24, 50
	_, out, err := m.run(t, g, "fork")
	must(t, err)
	if n, err := strconv.Atoi(strings.TrimSpace(out)); err != nil || n > 23 {
		t.Errorf("it forked %s times (%v)", out, err)
	}
}

// descendants counts the processes that run "play sleep" with the given mark.
func descendants(mark string) (n int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range environs {
		b, err := os.ReadFile(p)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), "MARK="+mark) {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func TestDescendantsEndWithTheGuest(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	cell, cmd := m.open(t, m.guest(), "daemon")
	cmd.Env = []string{"MARK=" + m.dir}
	out, err := cmd.StdoutPipe()
	must(t, err, cell.Start(cmd))
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	if n := descendants(m.dir); n != 2 {
		t.Fatalf("%d processes, not the guest and its descendant", n)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if n := descendants(m.dir); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func groupsOf(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup/*/pintle-guests-*")
	must(t, err)
	more, err := filepath.Glob("/sys/fs/cgroup/pintle-guests-*")
	must(t, err)
	return append(found, more...)
}

func TestKilledHostLeavesNothing(t *testing.T) {
	needsRoot(t)
	m := newMachine(t, confine.Range{})
	before := len(groupsOf(t))
	other := filepath.Join(filepath.Dir(m.dir), "h2")
	own := filepath.Join(other, "own")
	must(t, os.MkdirAll(own, 0o700))
	exe, err := os.Executable()
	must(t, err)
	host := exec.Command(exe, "play", "host", other, own)
	out, err := host.StdoutPipe()
	must(t, err, host.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	if n := descendants(other); n != 2 {
		t.Fatalf("%d processes, not the guest and its descendant", n)
	}
	if len(groupsOf(t)) <= before {
		t.Error("it made no group")
	}
	must(t, host.Process.Kill())
	eventually(t, time.Second, "end of the guest and its descendant", func() bool { return descendants(other) == 0 })
	_ = host.Wait()
	next, err := confine.New(confine.Config{Dir: other})
	must(t, err, next.Close())
	if n := len(groupsOf(t)); n > before {
		t.Errorf("%d groups, %d before", n, before)
	}
}
