package host_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func TestFilesAndPrivilegesOfAWish(t *testing.T) {
	source := tree{"oci": "registry.example.com/widget:1"}
	file := func(path string) []any { return []any{tree{"path": path}} }
	for name, c := range map[string]struct {
		spec tree
		want string
	}{
		"good ones": {tree{"source": source, "nodeScoped": true, "files": []any{tree{"path": "/etc/ssl/ca.pem"}, tree{"path": "/run/x", "readOnly": false}},
			"privileges": []any{"SYS_ADMIN", "MountPropagation"}, "limits": tree{"disk": "1Gi"}}, ""},
		"a relative path":           {tree{"source": source, "files": file("ca.pem")}, "spec.files[0].path: Invalid value: \"ca.pem\": must be an absolute path"},
		"a way around":              {tree{"source": source, "files": file("/etc/../root")}, "without . and .."},
		"all there is":              {tree{"source": source, "files": file("/")}, "name what is needed"},
		"processes":                 {tree{"source": source, "files": file("/proc/1/root")}, "can't be given"},
		"the same twice":            {tree{"source": source, "files": append(file("/a"), file("/a")...)}, "spec.files[1].path: Duplicate value"},
		"no such privilege":         {tree{"source": source, "nodeScoped": true, "privileges": []any{"SYS_MODULE"}}, "spec.privileges[0]: Unsupported value"},
		"privileges beside servers": {tree{"source": source, "privileges": []any{"SYS_ADMIN"}}, "spec.privileges: Forbidden: only plugins that run on nodes"},
		"one of the host's own":     {tree{"files": file("/a")}, "spec.files: Forbidden"},
		"no room":                   {tree{"source": source, "limits": tree{"disk": "0"}}, "spec.limits.disk"},
	} {
		o := pluginObject("w", nil, c.spec)
		errs := hooks(&host.Types{}).(resource.Validator).Validate(t.Context(), &resource.Request{Operation: resource.Create, Name: "w", Object: o})
		if got := errs.ToAggregate(); c.want == "" && got != nil || c.want != "" && (got == nil || !strings.Contains(got.Error(), c.want)) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhoGivesFilesAndPrivilegesMustBeAllowedTo(t *testing.T) {
	types := &host.Types{Authorize: func(_ context.Context, u resource.User, verb, _, res, _, _ string) (bool, error) {
		return u.Name == "root" && verb == "escalate" && res == "clusterroles", nil
	}}
	source, other := tree{"oci": "r/w:1"}, tree{"oci": "r/mine:1"}
	files := []any{tree{"path": "/etc/key"}}
	for name, c := range map[string]struct {
		spec, old tree
		ok        bool
	}{
		"nothing":               {tree{"source": source}, nil, true},
		"files":                 {tree{"source": source, "files": files}, tree{"source": source}, false},
		"privileges":            {tree{"source": source, "privileges": []any{"SYS_ADMIN"}}, tree{"source": source}, false},
		"what was there":        {tree{"source": source, "files": files, "disabled": true}, tree{"source": source, "files": files}, true},
		"taken away":            {tree{"source": source}, tree{"source": source, "files": files}, true},
		"to another plugin":     {tree{"source": other, "files": files}, tree{"source": source, "files": files}, false},
		"unsigned":              {tree{"source": source, "files": files, "allowUnsigned": true}, tree{"source": source, "files": files}, false},
		"another, with nothing": {tree{"source": other}, tree{"source": source}, true},
	} {
		for user, may := range map[string]bool{"jane": c.ok, "root": true} {
			r := &resource.Request{Operation: resource.Update, Name: "w", User: resource.User{Name: user}, Object: pluginObject("w", nil, c.spec)}
			if c.old != nil {
				r.Old = pluginObject("w", nil, c.old)
			}
			if err := hooks(types).(resource.Admitter).Admit(t.Context(), r); (err == nil) != may {
				t.Errorf("%s by %s: %v", name, user, err)
			}
		}
	}
}

func TestFileCoversWhatIsAskedFor(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		given, asked manifest.File
		ok           bool
	}{
		"itself":            {manifest.File{Path: "/a"}, manifest.File{Path: "/a"}, true},
		"below":             {manifest.File{Path: "/a"}, manifest.File{Path: "/a/b", ReadOnly: &yes}, true},
		"beside":            {manifest.File{Path: "/a"}, manifest.File{Path: "/ab"}, false},
		"above":             {manifest.File{Path: "/a/b"}, manifest.File{Path: "/a"}, false},
		"to write":          {manifest.File{Path: "/a"}, manifest.File{Path: "/a", ReadOnly: &no}, false},
		"to write, granted": {manifest.File{Path: "/a", ReadOnly: &no}, manifest.File{Path: "/a/b", ReadOnly: &no}, true},
	} {
		if c.given.Covers(c.asked) != c.ok {
			t.Errorf("%s: not %v", name, c.ok)
		}
	}
}

// manifested is a fetcher of the test binary with a manifest.
type manifested struct{ manifest.Manifest }

func (m *manifested) Fetch(_ context.Context, s host.Source) (host.Artifact, error) {
	return host.Artifact{Path: s.Path, SHA256: s.SHA256, Version: m.Version, Manifest: &m.Manifest}, nil
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestWhatAPluginAsksForOfTheMachineIsPending(t *testing.T) {
	exe := self(t)
	fetcher := &manifested{manifest.Manifest{
		Name: "w", Version: "1.2.3", Points: []string{"controller"},
		Permissions: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
		Files:       []manifest.File{{Path: "/etc/ssl/certs"}, {Path: "/etc/given"}}, Privileges: []manifest.Privilege{manifest.NetAdmin},
	}}
	given := filepath.Join(t.TempDir(), "given")
	if err := os.WriteFile(given, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fetcher.Files[1].Path = given
	r := start(t, func(c *host.Config) { c.Fetcher = fetcher }, host.Spec{
		Name: "w", Source: host.Source{Path: exe, SHA256: sumOf(t, exe)}, Args: []string{"plugin", "controller", "w"}, Grant: true,
		Files: []host.PluginFile{{Path: given}},
	})
	st := r.wait(t, "w", healthy)
	if want := []string{"file /etc/ssl/certs", "privilege NET_ADMIN"}; !slices.Equal(st.PendingMachine, want) {
		t.Errorf("pending: %q", st.PendingMachine)
	}
	if c, ok := st.Condition(host.ConditionGranted); !ok || c.Status || !strings.Contains(c.Message, "file /etc/ssl/certs; privilege NET_ADMIN") {
		t.Errorf("condition: %+v", c)
	}
}

func TestDirectoryOfAThirdParty(t *testing.T) {
	exe := self(t)
	third := host.Spec{Name: "w", Path: exe, SHA256: sumOf(t, exe), Args: []string{"plugin", "controller", "w"}, Limits: host.Limits{DiskBytes: 1 << 20}}
	r := start(t, nil, third)
	r.wait(t, "w", healthy)
	dir := filepath.Join(r.dir, "plugins", "w")
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart("w"); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "w", healthyAgain(1))
	if _, err := os.Stat(kept); err != nil {
		t.Error("a restart has lost what it kept", err)
	}
	rep, ok := r.report("w")
	if !ok || !slices.Contains(rep.Environ, "PINTLE_DATA="+dir) {
		t.Errorf("environment: %q", rep.Environ)
	}
	if err := os.WriteFile(filepath.Join(dir, "much"), make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	st := r.wait(t, "w", func(st host.Status) bool { return st.Health == host.HealthRefused })
	if !strings.Contains(st.Reason, dir+" holds more than its limit of 1 MiB (limits.disk)") {
		t.Errorf("reason: %s", st.Reason)
	}
	if st.LastExit == nil || st.LastExit.DiskLimit != 1<<20 {
		t.Errorf("exit: %+v", st.LastExit)
	}
	if err := os.Remove(filepath.Join(dir, "much")); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart("w"); err != nil {
		t.Fatal(err)
	}
	r.wait(t, "w", healthy)
	if err := r.Remove(r.ctx, "w"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("its directory is left")
	}
}
