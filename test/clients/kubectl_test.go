package clients

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

var all = flag.Bool("all", false, "test the machine's kubectl too, and explain every kind and each of its fields; this takes minutes")

var peer = flag.String("peer", "", "kubeconfig of a kube-apiserver with its controllers and scheduler to take expectations from")

// cluster is a server that kubectls are pointed at.
type cluster struct {
	kubeconfig string
	recording  bool // what kubectl prints becomes the expectation
}

// withKubectls runs a test with the embedded kubectl, and with -all with that of the
// machine if its answers are known, against one server for both.
func withKubectls(t *testing.T, test func(t *testing.T, k kubectl, c cluster)) {
	c := cluster{kubeconfig: *peer, recording: *peer != ""}
	if !c.recording {
		s := process.Start(t, process.Pintle(), "plugins:\n- name: scheduler\n- name: workloads\n  settings: {disabled: [nodelifecycle]}\n")
		c.kubeconfig = s.Kubeconfig()
	}
	commands := [][]string{{process.Pintle(), "kubectl"}}
	if *all {
		commands = append(commands, []string{"kubectl"})
	}
	for _, command := range commands {
		k, err := newKubectl(command)
		if err != nil {
			t.Logf("%v: not tested: %v", command, err)
			continue
		}
		t.Run("v"+k.version, func(t *testing.T) { test(t, k, c) })
	}
}

// kubectl is one of the kubectls on this machine.
type kubectl struct {
	command []string
	version string // such as 1.36
}

var errUnknownKubectl = errors.New("no expectations are recorded for its version")

func newKubectl(command []string) (kubectl, error) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return kubectl{}, err
	}
	command = append([]string{path}, command[1:]...)
	k := kubectl{command: command}
	if path == process.Pintle() {
		k.version, err = embeddedKubectl()
	} else {
		k.version, err = clientVersion(command)
	}
	if err != nil {
		return kubectl{}, err
	}
	if k.version != "1.32" && k.version != "1.36" {
		return kubectl{}, fmt.Errorf("version %s: %w", k.version, errUnknownKubectl)
	}
	return k, nil
}

// clientVersion asks a kubectl for its version.
func clientVersion(command []string) (string, error) {
	out, err := exec.Command(command[0], "version", "--client").Output()
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`Client Version: v(\d+\.\d+)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("it says of its version: %s", out)
	}
	return string(m[1]), nil
}

// embeddedKubectl is the version of the kubectl in the program under test, which says it
// only where it was told so when it was built.
func embeddedKubectl() (string, error) {
	info, err := buildinfo.ReadFile(process.Pintle())
	if err != nil {
		return "", err
	}
	for _, m := range info.Deps {
		if version, ok := strings.CutPrefix(m.Version, "v0."); ok && m.Path == "k8s.io/kubectl" {
			minor, _, _ := strings.Cut(version, ".")
			return "1." + minor, nil
		}
	}
	return "", errors.New("the program holds no kubectl")
}

// shell is where the commands of one session run: a folder of its own, in which kubectl is
// the one under test and its namespace the session's.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T, k kubectl, c cluster, namespace string) *shell {
	t.Helper()
	s := &shell{dir: t.TempDir()}
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		t.Fatal(err)
	}
	for _, x := range config.Contexts {
		x.Namespace = namespace
	}
	if err := clientcmd.WriteToFile(*config, filepath.Join(s.dir, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nexec " + strings.Join(k.command, " ") + " \"$@\"\n"
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "bin", "kubectl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "KUBECONFIG="+filepath.Join(s.dir, "kubeconfig"), "NS="+namespace, "LC_ALL=C",
		"TZ=UTC", "HOME="+s.dir, "KUBECACHEDIR="+filepath.Join(s.dir, "cache"), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	return s
}

// run runs a command line and returns what it prints, and its exit status at the end
// where it is not 0.
func (s *shell) run(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env = s.dir, s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && ctx.Err() == nil:
		fmt.Fprintf(&out, "[exit status %d]\n", exit.ExitCode())
	case err != nil:
		t.Fatalf("%s: %v\n%s", line, err, out.Bytes())
	}
	return out.String()
}

// inNamespace runs a test with a shell whose namespace is new and gone afterwards.
func inNamespace(t *testing.T, k kubectl, c cluster, name string, test func(s *shell)) {
	t.Helper()
	namespace := "kubectl-" + name + "-" + strings.ReplaceAll(k.version, ".", "")
	s := newShell(t, k, c, namespace)
	s.run(t, "kubectl delete namespace --ignore-not-found $NS")
	if out := s.run(t, "kubectl create namespace $NS"); !strings.Contains(out, "created") {
		t.Fatal(out)
	}
	defer s.run(t, "kubectl delete namespace --wait=false $NS")
	process.Eventually(t, 30*time.Second, "the namespace is furnished", func() error {
		if out := s.run(t, "kubectl get serviceaccount/default configmap/kube-root-ca.crt"); strings.Contains(out, "NotFound") {
			return errors.New(out)
		}
		return nil
	})
	test(s)
}

// TestKubectlSessions runs the command lines of each session in testdata/kubectl and
// compares all that kubectl prints with what it prints against kube-apiserver.
func TestKubectlSessions(t *testing.T) {
	scripts, err := filepath.Glob("testdata/kubectl/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	withKubectls(t, func(t *testing.T, k kubectl, c cluster) {
		for _, script := range scripts {
			name := strings.TrimSuffix(filepath.Base(script), ".sh")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inNamespace(t, k, c, name, func(s *shell) { s.session(t, c, name, k.version) })
			})
		}
	})
}

func (s *shell) session(t *testing.T, c cluster, name, version string) {
	raw, err := os.ReadFile("testdata/kubectl/" + name + ".sh")
	if err != nil {
		t.Fatal(err)
	}
	expected := "testdata/kubectl/" + name + "." + version + ".txt"
	var answers []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n\n") {
		title, _, _ := strings.Cut(line, "\n")
		answers = append(answers, "$ "+title+"\n"+strings.TrimRight(s.normal(s.run(t, line)), "\n")+"\n")
	}
	if c.recording {
		write(t, expected, strings.Join(answers, "\n"))
		return
	}
	want := read(t, expected)
	for i, got := range answers {
		var w string
		if i < len(answers)-1 {
			next, _, _ := strings.Cut(answers[i+1], "\n")
			w, want, _ = strings.Cut(want, "\n"+next+"\n")
			want = next + "\n" + want
		} else {
			w = want
		}
		if got != w {
			t.Errorf("- what kubectl prints with kube-apiserver, + with Pintle:\n%s", s.difference(t, w, got))
		}
	}
}

// difference shows what of two texts is not the same.
func (s *shell) difference(t *testing.T, want, got string) string {
	t.Helper()
	write(t, filepath.Join(s.dir, "want"), want+"\n")
	write(t, filepath.Join(s.dir, "got"), got+"\n")
	return s.run(t, "diff --label=kube-apiserver --label=Pintle -U 50 want got")
}

func read(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatalf("%v (record it with -peer)", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// varying is what no two runs have in common, and what takes its place.
var varying = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "<uid>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
	{regexp.MustCompile(`\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`), "<time>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000`), "<time>"},
	{regexp.MustCompile(`/tmp/(LIVE|MERGED)-\d+/`), ""},
	{regexp.MustCompile(`(resourceVersion\\?"?: ?\\?")\d+`), "$1<revision>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC`), "<time>"},
	{regexp.MustCompile(`(Resource Version: +)\d+`), "$1<revision>"},
	{regexp.MustCompile(`(Server Version: v\d+\.\d+).*`), "$1"},
	{regexp.MustCompile(`("serverAddress":")[^"]*`), "$1<server>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<server>"},
	{regexp.MustCompile(`\b10\.\d+\.\d+\.\d+\b`), "<ip>"},
	{regexp.MustCompile(`(nodePort"?: |NodePort: .*|:)3\d{4}\b`), "$1<port>"},
	{regexp.MustCompile(`\b(\d+[hm])?\d+[ms]\b`), "<age>"},
	{regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{8,10}(-[bcdfghjklmnpqrstvwxz2456789]{5})?\b`), "-<hash>"},
	{regexp.MustCompile(`(kube-api-access-)[a-z0-9]{5}\b`), "$1<hash>"},
	{regexp.MustCompile(`(pod-template-hash=)\w+`), "$1<hash>"},
	{regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "-<hash>"},
	{regexp.MustCompile(`\bkubernetes-admin\b`), "admin"}, // Pintle's administrator
	// Columns are as wide as what stands in them.
	{regexp.MustCompile(`(\S) {2,}`), "$1  "},
	{regexp.MustCompile(`(?m)[ \t]+$`), ""},
}

// normal is an answer without what varies from run to run.
func (s *shell) normal(text string) string {
	for _, e := range s.env {
		if namespace, ok := strings.CutPrefix(e, "NS="); ok {
			text = strings.ReplaceAll(text, namespace, "<ns>")
		}
	}
	text = strings.ReplaceAll(text, s.dir, "<dir>")
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.is)
	}
	return text
}
