package nodeplugins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/serve"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// mark and a version are at the end of a guest's binary: that is how versions differ.
const mark = "\nversion of the guest: "

// daemonTime is the argument by which what a guest has started is found.
const daemonTime = "7654329"

// ownVersion reads the version at the end of this binary.
func ownVersion() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	end := make([]byte, 64)
	if _, err := f.ReadAt(end, st.Size()-int64(len(end))); err != nil {
		return err.Error()
	}
	_, version, _ := strings.Cut(string(end), mark)
	return version
}

// playGuest is the test binary as a plugin.
func playGuest(kind string) {
	switch {
	case kind == "shelf":
		g := &shelf{}
		serve.Serve(g, storage.Point(g))
	case strings.HasPrefix(ownVersion(), "3."):
		fmt.Fprintln(os.Stderr, "I am of no use")
		os.Exit(3)
	default:
		g := &sentry{}
		serve.Serve(g, controller.Point(g))
	}
}

// base of the guests: they have no settings.
type base struct{ name string }

// Info implements plugin.Plugin.
func (b base) Info() plugin.Info {
	return plugin.Info{Name: b.name, Version: ownVersion(), Permissions: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create", "update"}},
	}}
}

// ConfigSchema implements plugin.Plugin.
func (base) ConfigSchema() []byte { return nil }

// Configure implements plugin.Plugin.
func (base) Configure(context.Context, []byte) error { return nil }

// sentry says in a ConfigMap where and how it runs, and starts what outlives it where it can.
type sentry struct{ base }

// Info implements plugin.Plugin.
func (*sentry) Info() plugin.Info { return base{"sentry"}.Info() }

// Run implements controller.Controller.
func (*sentry) Run(ctx context.Context, env plugin.Env) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	child := exec.Command("/bin/sleep", daemonTime)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(links))
	for _, l := range links {
		names = append(names, l.Name)
	}
	report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "sentry-" + env.Node}, Data: map[string]string{
		"version": ownVersion(), "uid": fmt.Sprint(os.Getuid()), "pid": fmt.Sprint(os.Getpid()), "links": strings.Join(names, " "),
	}}
	fmt.Println("I stand at", env.Node)
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	for {
		_, err := maps.Create(ctx, report, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			_, err = maps.Update(ctx, report, metav1.UpdateOptions{})
		}
		if err == nil || !apierrors.IsForbidden(err) {
			if err != nil && ctx.Err() == nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		select { // until it may
		case <-ctx.Done():
			return ctx.Err()
		case <-after():
		}
	}
}

// shelf is a storage that has a directory for each volume in its own, and no privileges.
type shelf struct {
	base
	dir string
}

// Info implements plugin.Plugin.
func (*shelf) Info() plugin.Info { return base{"shelf"}.Info() }

// Open implements storage.Storage.
func (s *shelf) Open(_ context.Context, env plugin.Env) (storage.Services, error) {
	s.dir = filepath.Join(env.Dir, "volumes")
	return storage.Services{Driver: "shelf.example", Mounter: s}, os.MkdirAll(s.dir, 0o777)
}

// MountVolume implements storage.Mounter.
func (s *shelf) MountVolume(_ context.Context, r storage.MountVolumeRequest) error {
	at := filepath.Join(s.dir, r.Handle)
	if err := os.MkdirAll(at, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(at, 0o777); err != nil {
		return err
	}
	if to, err := os.Readlink(r.TargetPath); err == nil && to == at {
		return nil
	}
	if err := os.Remove(r.TargetPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(at, r.TargetPath)
}

// UnmountVolume implements storage.Mounter.
func (s *shelf) UnmountVolume(_ context.Context, _, targetPath string) error {
	if err := os.Remove(targetPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
