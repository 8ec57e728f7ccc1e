package guests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// lifeFile in its private directory says whether the guest that was started last is hostile.
const lifeFile = "life"

// hostileFile in its private directory makes a guest what its mode says. Until then it is a
// plugin as any other.
const hostileFile = "hostile"

// playGuest is the test binary as the plugin: "BINARY guest MODE".
func playGuest(mode string) {
	g := &guest{mode: mode, hostile: exists(filepath.Join(os.Getenv("HOME"), hostileFile))}
	_ = os.WriteFile(filepath.Join(os.Getenv("HOME"), lifeFile), strconv.AppendBool(nil, g.hostile), 0o600)
	if g.hostile {
		if play := raw[mode]; play != nil {
			play()
			return
		}
		if mode == "hooks" {
			serve.Serve(g, nonsensePoint(g), controller.Point(g))
			return
		}
	}
	if strings.HasSuffix(mode, "-review") {
		serve.Serve(reviewer{g}, resource.Point(reviewer{g}), admission.Point(reviewer{g}), controller.Point(g))
		return
	}
	serve.Serve(g, resource.Point(g), controller.Point(g))
}

// reviewer also takes part in admission to its own type.
type reviewer struct{ *guest }

// Declare implements admission.Admission.
func (g reviewer) Declare() admission.Declaration {
	return admission.Declaration{Rules: []admission.Rule{{APIGroups: []string{groupOf(g.mode)}, Resources: []string{"trials"}}}}
}

// Mutate implements admission.Mutator.
func (g reviewer) Mutate(context.Context, *admission.Request) (bool, error) {
	switch {
	case g.is("panic-review"):
		panic("I was asked to review")
	case g.is("hang-review"):
		select {}
	}
	return false, nil
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// guest offers a type with a hook, and a controller.
type guest struct {
	mode    string
	hostile bool
	bulky   atomic.Bool
}

func groupOf(mode string) string { return mode + ".guests.example" }

func (g *guest) is(modes string) bool {
	return g.hostile && strings.Contains(" "+modes+" ", " "+g.mode+" ")
}

// Info implements plugin.Plugin.
func (g *guest) Info() plugin.Info {
	info := plugin.Info{Name: g.mode, Version: "6.6.6", Description: "A guest that may misbehave"}
	if g.is("greedy") {
		info.Permissions = []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}},
			{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		}
	}
	return info
}

// ConfigSchema implements plugin.Plugin.
func (g *guest) ConfigSchema() []byte {
	if g.is("schema") {
		return []byte(`{"type": "object", "properties": {"a": {"$ref": "#/properties/a"`)
	}
	return nil
}

// Configure implements plugin.Plugin.
func (g *guest) Configure(context.Context, []byte) error {
	if g.is("panic-early") {
		panic("I was asked to configure")
	}
	return nil
}

const trialSchema = `{"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}`

func definition(group, plural, kind string) *resource.Definition {
	return &resource.Definition{
		Group: group, Scope: resource.NamespaceScoped,
		Names: resource.Names{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"},
		Versions: []resource.Version{{
			Name: "v1", Served: true, Storage: true,
			Schema: func() (*resource.Schema, error) {
				s := &resource.Schema{}
				return s, json.Unmarshal([]byte(trialSchema), s)
			},
		}},
	}
}

// Definitions implements resource.Bundle.
func (g *guest) Definitions() ([]*resource.Definition, error) {
	out := []*resource.Definition{definition(groupOf(g.mode), "trials", "Trial")}
	if g.is("claim") {
		out = append(out, definition("", "configmaps", "ConfigMap"))
	}
	if g.is("claim-neighbour") {
		out = append(out, definition(groupOf("panic"), "trials", "Trial"))
	}
	return out, nil
}

// Hooks implements resource.Bundle.
func (g *guest) Hooks(gr schema.GroupResource) any {
	if gr.Group == groupOf(g.mode) {
		return g
	}
	return nil
}

// Validate implements resource.Validator.
func (g *guest) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	switch {
	case g.is("panic"):
		panic("I was asked to validate")
	case g.is("hang"):
		select {}
	case g.is("bulk") && !g.bulky.Swap(true): // many at once would meet the memory limit first
		return field.ErrorList{field.Invalid(field.NewPath("spec"), strings.Repeat("x", protocol.MaxMessageBytes), "is too small")}
	case g.is("peek"):
		s, err := r.Reader.Get(ctx, schema.GroupResource{Resource: "secrets"}, metav1.NamespaceDefault, "treasure")
		report(map[string]string{"secret": fmt.Sprint(s), "error": fmt.Sprint(err)})
	}
	return nil
}

// report leaves what was found in the private directory.
func report(found map[string]string) {
	b, _ := json.Marshal(found)
	p := filepath.Join(os.Getenv("HOME"), "report")
	if err := os.WriteFile(p+".new", b, 0o600); err == nil {
		_ = os.Rename(p+".new", p)
	}
}

// Run implements controller.Controller.
func (g *guest) Run(ctx context.Context, env plugin.Env) error {
	switch {
	case g.is("panic"), g.is("panic-work"):
		panic("I was asked to work")
	case g.is("leak"):
		leak()
	case g.is("fork"):
		bomb()
	case g.is("flood"):
		line := []byte(strings.Repeat("all work and no play ", 10) + "\n")
		for {
			_, _ = syscall.Write(2, line)
			fmt.Println(string(line))
		}
	case g.is("spin"):
		for range 64 {
			go func() {
				for i := 0; ; i++ {
					sink.Store(int64(i))
				}
			}()
		}
	case g.is("daemon"):
		child := exec.Command("/bin/sleep", "7654321")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return err
		}
		report(map[string]string{"child": fmt.Sprint(child.Process.Pid)})
		time.Sleep(100 * time.Millisecond)
		os.Exit(4)
	case g.is("hoard"), g.is("hoard-nameless"):
		hoard(env.Dir, g.is("hoard-nameless"))
	case g.is("deaf"):
		select {}
	case g.is("greedy"):
		report(grab(ctx, env))
	case g.is("spy"):
		report(spy(env))
	}
	<-ctx.Done()
	return ctx.Err()
}

// sink is where work goes that is for nothing.
var sink atomic.Int64

// leak takes all the memory there is.
func leak() {
	var kept [][]byte
	for {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		sink.Store(int64(len(kept)))
	}
}

// hoardDir is where it keeps too much.
const hoardDir = "hoard"

// hoard writes until it is ended, into files that have a name or have none.
func hoard(dir string, nameless bool) {
	dir = filepath.Join(dir, hoardDir)
	_ = os.Mkdir(dir, 0o700)
	block := make([]byte, 1<<20)
	for i := 0; ; i++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		if nameless {
			_ = os.Remove(f.Name())
		}
		_, _ = f.Write(block)
		if !nameless {
			_ = f.Close()
		}
	}
}

// bomb makes processes that make processes.
func bomb() {
	for {
		_ = exec.Command("/proc/self/exe", "bomb").Start()
	}
}

// grab uses rights that were not granted.
func grab(ctx context.Context, env plugin.Env) map[string]string {
	out := map[string]string{}
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return map[string]string{"client": err.Error()}
	}
	try := func(what string, err error) { out[what] = fmt.Sprint(err) }
	_, err = client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
	try("list secrets", err)
	_, err = client.CoreV1().Secrets(metav1.NamespaceDefault).Get(ctx, "treasure", metav1.GetOptions{})
	try("get secret", err)
	try("delete", client.CoreV1().ConfigMaps(loadNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:plugin:greedy"}},
	}, metav1.CreateOptions{})
	try("bind", err)
	env.Config.Impersonate.UserName, env.Config.Impersonate.Groups = "root", []string{"system:masters"}
	if masters, err := kubernetes.NewForConfig(env.Config); err == nil {
		_, err = masters.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
		try("impersonate", err)
	}
	return out
}

// spy looks for what is not its own on the machine.
func spy(env plugin.Env) map[string]string {
	out := map[string]string{}
	try := func(what string, err error) { out[what] = fmt.Sprint(err) }
	data := env.Dir // DATA/hosts/server/plugins/NAME
	for range 4 {
		data = filepath.Dir(data)
	}
	for _, p := range []string{"admin.kubeconfig", "pki", "store", "config.json", "hosts/server/plugins/panic", "hosts/server/users.json", "hosts/server/logs"} {
		f, err := os.Open(filepath.Join(data, p))
		if err == nil {
			_ = f.Close()
		}
		try("read "+p, err)
	}
	for _, p := range []string{data, filepath.Dir(env.Dir), "/etc", "/usr", "/run", "/var/lib", "/root", "/"} {
		try("write "+p, os.WriteFile(filepath.Join(p, "guest-was-here"), nil, 0o600))
	}
	given := os.Getenv("GIVEN")
	_, err := os.ReadFile(given)
	try("may read what it was given", err)
	try("write what it was given", os.WriteFile(given, nil, 0o600))
	for _, address := range strings.Fields(os.Getenv("ADDRESSES")) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		try("dial "+address, err)
	}
	others := 0
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")); err == nil && e.Name() != "self" && e.Name() != "thread-self" {
			others++
		}
	}
	if others <= 1 { // it is there itself
		try("look at other processes", errors.New("there are none"))
	} else {
		try("look at other processes", nil)
	}
	try("become root", syscall.Setuid(0))
	try("mount", syscall.Mount("tmpfs", env.Dir, "tmpfs", 0, ""))
	for _, flags := range []uintptr{syscall.CLONE_NEWUSER, syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, syscall.CLONE_NEWNET} {
		child := exec.Command("/bin/true")
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		try(fmt.Sprintf("make namespaces %x", flags), child.Run())
	}
	for name, call := range map[string][4]uintptr{
		"trace its host": {unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(os.Getppid())}, "look into memory": {unix.SYS_PROCESS_VM_READV, 1},
		"load a program into the kernel": {unix.SYS_BPF, 0, 0, 0}, "measure others": {unix.SYS_PERF_EVENT_OPEN}, "keep keys": {unix.SYS_KEYCTL, 0, ^uintptr(2), 1},
		"handle faults": {unix.SYS_USERFAULTFD, 1}, "use rings": {unix.SYS_IO_URING_SETUP, 1}, "boot another kernel": {unix.SYS_KEXEC_LOAD},
	} {
		_, _, errno := syscall.Syscall(call[0], call[1], call[2], call[3])
		var err error
		if errno != 0 {
			err = errno
		}
		try(name, err)
	}
	hypervisor, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err == nil {
		_ = unix.Close(hypervisor)
	}
	try("call the hypervisor", err)
	program := filepath.Join(env.Dir, "program")
	err = os.WriteFile(program, nil, 0o700)
	try("leave a program that runs as its owner", errors.Join(err, os.Chmod(program, 0o700|os.ModeSetuid)))
	return out
}
