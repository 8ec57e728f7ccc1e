package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/runtime/downward"
)

type source struct {
	cms      map[string]*corev1.ConfigMap
	secrets  map[string]*corev1.Secret
	tokens   int
	tokenErr error
}

func (s *source) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if c, ok := s.cms[name]; ok {
		return c, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
}
func (s *source) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if c, ok := s.secrets[name]; ok {
		return c, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}
func (s *source) Token(_ context.Context, _ *corev1.Pod, spec authv1.TokenRequestSpec) (authv1.TokenRequestStatus, error) {
	if s.tokenErr != nil {
		return authv1.TokenRequestStatus{}, s.tokenErr
	}
	s.tokens++
	return authv1.TokenRequestStatus{Token: fmt.Sprintf("token-%d", s.tokens), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Duration(*spec.ExpirationSeconds) * time.Second))}, nil
}

func ptr[T any](v T) *T { return &v }

func newPod(vols ...corev1.Volume) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "uid", Labels: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{Volumes: vols}}
}

func vol(name string, s corev1.VolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: s}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestVolumesFromObjects(t *testing.T) {
	src := &source{
		cms:     map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"c": {0, 1}}}},
		secrets: map[string]*corev1.Secret{"s": {Data: map[string][]byte{"key": []byte("secret")}}},
	}
	m := NewManager(t.TempDir(), src)
	pod := newPod(
		vol("cm", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}),
		vol("items", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "a", Path: "deep/er/a", Mode: ptr(int32(0o400))}}}}),
		vol("secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: ptr(int32(0o440))}}),
		vol("absent", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none", Optional: ptr(true)}}),
		vol("all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "b", Path: "b"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}),
	)
	paths, err := m.Setup(context.Background(), pod, downward.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"cm/a": "1", "cm/b": "2", "cm/c": "\x00\x01", "items/deep/er/a": "1", "secret/key": "secret", "all/token": "token-1", "all/b": "2", "all/labels": `a="b"`,
	} {
		v, rest, _ := strings.Cut(path, "/")
		if got := contents(t, filepath.Join(paths[v], rest)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]os.FileMode{"cm/a": 0o644, "items/deep/er/a": 0o400, "secret/key": 0o440} {
		v, rest, _ := strings.Cut(path, "/")
		if st, err := os.Stat(filepath.Join(paths[v], rest)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, st.Mode(), err, want)
		}
	}
	// An update shows, what is gone goes, and the token stays while it is good.
	src.cms["cm"] = &corev1.ConfigMap{Data: map[string]string{"a": "changed", "b": "2"}}
	if _, err := m.Setup(context.Background(), pod, downward.Facts{}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, filepath.Join(paths["cm"], "a")); got != "changed" {
		t.Errorf("after the update a is %q", got)
	}
	if _, err := os.Lstat(filepath.Join(paths["cm"], "c")); !os.IsNotExist(err) {
		t.Errorf("c is still there: %v", err)
	}
	if got := contents(t, filepath.Join(paths["all"], "token")); got != "token-1" {
		t.Errorf("token is %q", got)
	}
	// One that is nearly over is replaced; one that cannot be replaced serves on.
	m.tokens.now = func() time.Time { return time.Now().Add(55 * time.Minute) }
	src.tokenErr = errors.New("away")
	m.Setup(context.Background(), pod, downward.Facts{})
	if got := contents(t, filepath.Join(paths["all"], "token")); got != "token-1" {
		t.Errorf("token is %q", got)
	}
	src.tokenErr = nil
	m.Setup(context.Background(), pod, downward.Facts{})
	if got := contents(t, filepath.Join(paths["all"], "token")); got != "token-2" {
		t.Errorf("token is %q", got)
	}
	if err := m.Teardown(context.Background(), "uid"); err != nil {
		t.Error(err)
	}
	if left, _ := m.Pods(); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestSetupErrors(t *testing.T) {
	m := NewManager(t.TempDir(), &source{cms: map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": ""}}}})
	for _, c := range []struct {
		v    corev1.VolumeSource
		want string
	}{
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}}}, `configmaps "none" not found`},
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "z", Path: "z"}}}}, "non-existent config key: z"},
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "a", Path: "../z"}}}}, "must stay in the volume"},
		{corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, "cannot be made"},
		{corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/dev/null", Type: ptr(corev1.HostPathDirectory)}}, "is not a Directory"},
		{corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/no/such/thing", Type: ptr(corev1.HostPathFile)}}, "no such file"},
	} {
		_, err := m.Setup(context.Background(), newPod(vol("v", c.v)), downward.Facts{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `volume "v"`) {
			t.Errorf("%v, want %q in it", err, c.want)
		}
	}
}

func root(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
}

func TestEmptyDir(t *testing.T) {
	root(t)
	m := NewManager(t.TempDir(), &source{})
	pod := newPod(
		vol("disk", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		vol("memory", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: ptr(resource.MustParse("1Mi"))}}),
	)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr(int64(4321))}
	paths, err := m.Setup(context.Background(), pod, downward.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Gid != 4321 || st.Mode().Perm() != 0o777 || st.Mode()&os.ModeSetgid == 0 {
			t.Errorf("%s: group %d, mode %v", name, sys.Gid, st.Mode())
		}
		if err := os.WriteFile(filepath.Join(p, "x"), []byte("kept"), 0o644); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(paths["memory"], "big"), make([]byte, 2<<20), 0o644); err == nil {
		t.Error("the memory volume has no limit")
	}
	if _, err := m.Setup(context.Background(), pod, downward.Facts{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if contents(t, filepath.Join(p, "x")) != "kept" {
			t.Errorf("a second Setup emptied %s", p)
		}
	}
	if err := m.Teardown(context.Background(), "uid"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.PodDir("uid")); !os.IsNotExist(err) {
		t.Errorf("left over: %v", err)
	}
}

func TestSubPath(t *testing.T) {
	root(t)
	m := NewManager(t.TempDir(), &source{cms: map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": "1"}}}})
	pod := newPod(
		vol("v", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		vol("cm", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}),
	)
	defer m.Teardown(context.Background(), "uid")
	paths, err := m.Setup(context.Background(), pod, downward.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	os.Symlink("/etc", filepath.Join(paths["v"], "escape"))
	mount := func(vm corev1.VolumeMount) (string, bool, error) {
		vm.MountPath = "/x"
		ms, err := m.Mounts(pod, &corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{vm}}, paths, func(s string) (string, error) { return strings.ReplaceAll(s, "$(A)", "expanded"), nil })
		if err != nil {
			return "", false, err
		}
		return ms[0].HostPath, ms[0].ReadOnly, nil
	}
	p, ro, err := mount(corev1.VolumeMount{Name: "v", SubPath: "new/dir"})
	if err != nil || ro {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(p, "f"), []byte("x"), 0o644)
	if contents(t, filepath.Join(paths["v"], "new/dir/f")) != "x" {
		t.Error("the sub-path is not part of the volume")
	}
	if p, ro, err = mount(corev1.VolumeMount{Name: "cm", SubPath: "a"}); err != nil || !ro || contents(t, p) != "1" {
		t.Errorf("a file as sub-path: %v, read-only %v", err, ro)
	}
	if _, _, err = mount(corev1.VolumeMount{Name: "v", SubPathExpr: "$(A)"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(paths["v"], "expanded")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"escape", "escape/passwd", "../x", "/etc"} {
		if p, _, err := mount(corev1.VolumeMount{Name: "v", SubPath: bad}); err == nil {
			t.Errorf("sub-path %q led to %s", bad, p)
		}
	}
	if _, _, err := mount(corev1.VolumeMount{Name: "none"}); err == nil {
		t.Error("an unknown volume gave no error")
	}
}

// A reader going through ..data sees one whole set of files at any moment.
func TestAtomic(t *testing.T) {
	dir := t.TempDir()
	set := func(n int) map[string]file {
		out := map[string]file{}
		for _, k := range []string{"a", "b", "c/d"} {
			out[k] = file{data: fmt.Appendf(nil, "%d", n), mode: 0o644, uid: -1, gid: -1}
		}
		return out
	}
	if changed, err := writeAtomic(dir, set(0)); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if changed, err := writeAtomic(dir, set(0)); changed || err != nil {
		t.Fatal("the same again changed something", err)
	}
	var stop atomic.Bool
	mixed := make(chan string, 1)
	go func() {
		defer close(mixed)
		for !stop.Load() {
			d, err := os.OpenRoot(filepath.Join(dir, dataLink))
			if errors.Is(err, os.ErrNotExist) {
				continue // The set that the link named was removed before it was opened.
			}
			if err != nil {
				mixed <- err.Error()
				return
			}
			a, err1 := d.ReadFile("a")
			b, err2 := d.ReadFile("c/d")
			d.Close()
			// A set may be removed while we read it; it is never changed.
			if err1 == nil && err2 == nil && string(a) != string(b) {
				mixed <- fmt.Sprintf("a is %s and c/d is %s", a, b)
				return
			}
		}
	}()
	for i := range 200 {
		if _, err := writeAtomic(dir, set(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	if m := <-mixed; m != "" {
		t.Error(m)
	}
}

// Whatever sets follow each other, what is seen is the last one.
func TestAtomicModel(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		os.Mkdir(dir, 0o755)
		for range rapid.IntRange(1, 6).Draw(rt, "updates") {
			names := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "d/x", "d/y", "e/f/g", ".hidden"}), rapid.ID).Draw(rt, "names")
			set := map[string]file{}
			for _, p := range names {
				set[p] = file{data: []byte(rapid.StringMatching(`[xyz]{0,3}`).Draw(rt, "data")), mode: rapid.SampledFrom([]os.FileMode{0o600, 0o644}).Draw(rt, "mode"), uid: -1, gid: -1}
			}
			if _, err := writeAtomic(dir, set); err != nil {
				rt.Fatal(err)
			}
			for p, f := range set {
				if b, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(b) != string(f.data) {
					rt.Fatalf("%s is %q, %v, want %q", p, b, err, f.data)
				}
			}
			tops := map[string]bool{}
			for p := range set {
				tops[strings.Split(p, "/")[0]] = true
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), "..") && !tops[e.Name()] {
					rt.Fatalf("%s is left", e.Name())
				}
			}
		}
	})
}
