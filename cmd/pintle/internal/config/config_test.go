package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/configs"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryProfileLoads(t *testing.T) {
	for _, name := range configs.Profiles() {
		if _, err := config.Load(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "api:\n  listen: 127.0.0.1:1\n  clusterDomain: file.test\nlog:\n  level: warn\nstore:\n  cache: 8Mi\n  historyWindow: 3m\n")
	t.Setenv("PINTLE_API_LISTEN", "127.0.0.1:2")
	t.Setenv("PINTLE_LOG_LEVEL", "debug")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("api.listen", "unused default", "")
	flags.String("log.format", "unused default", "")
	if err := flags.Parse([]string{"--api.listen=127.0.0.1:3"}); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, flags)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, got, want string }{
		{"flag", c.API.Listen, "127.0.0.1:3"},
		{"environment", c.Log.Level, "debug"},
		{"file", c.API.ClusterDomain, "file.test"},
		{"default", c.API.ServiceCIDR, "10.96.0.0/16"},
		{"flag that was not set", c.Log.Format, "text"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if c.Store.Cache != 8<<20 || time.Duration(c.Store.HistoryWindow) != 3*time.Minute {
		t.Errorf("got cache %d and window %v", c.Store.Cache, time.Duration(c.Store.HistoryWindow))
	}
}

func TestUsersKeysKeepTheirCase(t *testing.T) {
	c, err := config.Load(write(t, `
node: {labels: {Example.dev/Zone: A}}
plugins: [{name: network, settings: {clusterCIDR: 10.0.0.0/16}, env: {HTTP_Proxy: x}}]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]string
	if err := json.Unmarshal(c.Plugins[0].Settings, &settings); err != nil {
		t.Fatal(err)
	}
	if settings["clusterCIDR"] == "" || c.Plugins[0].Env["HTTP_Proxy"] == "" || c.Node.Labels["Example.dev/Zone"] == "" {
		t.Errorf("a key lost its case: %v %v %v", settings, c.Plugins[0].Env, c.Node.Labels)
	}
}

func TestBadConfigurationsNameTheKey(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "api:\n  lisen: x\n", `"api.lisen"`},
		{"unknown key in a list", "plugins:\n- name: a\n  sha: x\n", `"plugins[0].sha"`},
		{"unknown key at the root", "apis: {}\n", `"apis"`},
		{"not YAML", "api: [\n", "not valid YAML"},
		{"a key twice", "api: {}\napi: {}\n", "not valid YAML"},
		{"wrong type", "api:\n  anonymous: perhaps\n", "anonymous"},
		{"listen without a port", "api:\n  listen: localhost\n", "api.listen"},
		{"bad size", "store:\n  cache: much\n", "much"},
		{"bad duration", "store:\n  historyWindow: long\n", "long"},
		{"plugin without checksum", "plugins:\n- {name: a, path: ./a}\n", "plugins[0].sha256"},
		{"short checksum", "plugins:\n- {name: a, path: ./a, sha256: abc}\n", "plugins[0].sha256"},
		{"two plugins of a name", "plugins:\n- name: a\n- name: a\n", "plugins[1].name"},
		{"audit policy without a place for events", "api:\n  audit: {policyFile: p.yaml}\n", "api.audit"},
		{"audit log without a policy", "api:\n  audit: {log: {path: a.log}}\n", "api.audit.policyFile"},
		{"unknown key of access", "api:\n  audit: {log: {file: a.log}}\n", `"api.audit.log.file"`},
		{"strict audit without a log", "api:\n  audit: {policyFile: p, webhook: {configFile: w}, log: {strict: true}}\n", "api.audit.log.path"},
		{"size without truncation", "api:\n  audit: {policyFile: p, log: {path: a.log, truncate: {maxEventSize: 1Ki}}}\n", "api.audit.log.truncate.maxEventSize"},
		{"negative age", "api:\n  audit: {policyFile: p, log: {path: a.log, maxAge: -1}}\n", "api.audit.log.maxAge"},
		{"proxies without a CA", "api:\n  requestHeader: {allowedNames: [a]}\n", "api.requestHeader.clientCA"},
		{"bad level", "log:\n  level: loud\n", "log.level"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := config.Load(write(t, tc.text), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %s", err, tc.want)
			}
		})
	}
	if _, err := config.Load("nosuch", nil); err == nil || !strings.Contains(err.Error(), "dev") {
		t.Errorf("an unknown profile: got %v, want the profiles listed", err)
	}
}

func TestTheAPIIsAdvertisedWhereOthersCanReachIt(t *testing.T) {
	for _, tc := range []struct {
		api  config.API
		want string // "" for nowhere
	}{
		{config.API{Listen: "192.0.2.9:6443"}, "192.0.2.9"},
		{config.API{Listen: "127.0.0.1:6443"}, ""},
		{config.API{Listen: "api.example.com:6443"}, ""},
		{config.API{Listen: "0.0.0.0:6443", Advertise: "192.0.2.10"}, "192.0.2.10"},
		{config.API{Listen: "127.0.0.1:6443", Advertise: "2001:db8::1"}, "2001:db8::1"},
	} {
		got, ok := tc.api.Advertised()
		if ok != (tc.want != "") || ok && got.String() != tc.want {
			t.Errorf("%+v: got %v, %v, want %q", tc.api, got, ok, tc.want)
		}
	}
	if got, ok := (config.API{Listen: ":6443"}).Advertised(); ok && got.String() != config.OutboundIP() {
		t.Errorf("an API on all addresses is advertised at %v, not at the machine's %v", got, config.OutboundIP())
	}
}

func TestFilesOfAccessAreFoundBesideTheConfiguration(t *testing.T) {
	file := write(t, "api:\n  anonymous: false\n  bootstrapTokens: true\n  authenticationConfig: authn.yaml\n  audit: {policyFile: /etc/policy.yaml, log: {path: \"-\", maxSize: 5}}\n")
	t.Setenv("PINTLE_API_AUTHORIZATIONCONFIG", "authz.yaml")
	t.Setenv("PINTLE_API_AUDIT_LOG_MAXAGE", "7")
	c, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	for _, tc := range []struct{ name, got, want string }{
		{"from the file", c.API.AuthenticationConfig, filepath.Join(dir, "authn.yaml")},
		{"from the environment", c.API.AuthorizationConfig, filepath.Join(dir, "authz.yaml")},
		{"absolute", c.API.Audit.PolicyFile, "/etc/policy.yaml"},
		{"standard output", c.API.Audit.Log.Path, "-"},
		{"default", c.API.RequestHeader.UsernameHeaders[0], "X-Remote-User"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if !c.API.BootstrapTokens || c.API.Anonymous || c.API.Audit.Log.MaxAge != 7 || c.API.Audit.Log.MaxSize != 5 {
		t.Errorf("%+v", c.API.Access)
	}
}
