package host

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Placement says where a plugin's code runs.
type Placement string

// The placements.
const (
	// Process is a child process behind gRPC, the default.
	Process Placement = "process"
	// Builtin is the same implementation called in the host's own process.
	Builtin Placement = "builtin"
	// Served is a plugin that somebody else has started, for authors' tests and debuggers.
	Served Placement = "served"
)

// Spec is one entry of the catalogue: a plugin and how it is run.
type Spec struct {
	// Name is a DNS label, unique in a host, and equal to the plugin's Info().Name.
	Name string
	// Command starts a first-party plugin: an absolute path and arguments, such as
	// os.Executable(), "plugin", "serve", NAME. It is trusted as the host itself is.
	Command []string
	// Path is the absolute path of a third party's binary; SHA256 must then be given.
	Path string
	// Args are given to the binary at Path.
	Args []string
	// SHA256 of the binary in hexadecimal. Where it is set, a binary with another sum is
	// not run.
	SHA256 string
	// Source is where a third party's plugin comes from, where that is not Path.
	Source Source
	// Placement is Process where empty.
	Placement Placement
	// Builtin is the implementation for placement Builtin.
	Builtin plugin.Plugin
	// Dial reaches the plugin for placement Served.
	Dial Dial
	// Settings are the plugin's own, as JSON.
	Settings json.RawMessage
	// Origin says what became of settings that come from elsewhere, too.
	Origin SettingsOrigin
	// Grant gives a third party's plugin all permissions that it asks for. First-party
	// plugins (Command, Builtin) always get theirs.
	Grant bool
	// Permissions are granted to a third party's plugin where Grant is not set; what it
	// asks for beyond them is only listed in its status.
	Permissions []rbacv1.PolicyRule
	// Uses are the points of other plugins that it may call, such as a scheduler's
	// "scheduling". A third party's plugin may call those of them that its manifest asks for,
	// or with Grant all of these.
	Uses []protocol.Point
	// Env is the plugin's environment beside the few variables the host sets itself (PATH,
	// HOME, TMPDIR and those of the handshake). Nothing is inherited.
	Env map[string]string
	// MemoryLimit in bytes is the soft limit of the plugin's Go heap (GOMEMLIMIT); 0 for
	// none.
	MemoryLimit int64
	// Limits of all its processes together. What is 0 is the host's default.
	Limits Limits
	// Network lets the plugin reach the machine's network. Without it, a third party's
	// plugin has the API server's unix socket and nothing else. First-party plugins have it.
	Network bool
	// Files of the machine that a third party's plugin is given, beside its own, and
	// Privileges that it has beyond a guest's.
	Files      []PluginFile
	Privileges []PluginPrivilege
	// Disabled plugins are listed and not run.
	Disabled bool
	// NodeScoped plugins run on each node; their Plugin object carries the node's name.
	NodeScoped bool
	// Admission overrides what an admission plugin declares of itself.
	Admission AdmissionPolicy
	// Replacement is how a new version, or new settings, take the place of the old.
	Replacement Replacement
	// Wish is the spec of the Plugin object that the entry was made from, nil where it is
	// from the configuration. It is kept in the history, to go back to.
	Wish map[string]any
}

// AdmissionPolicy is the operator's word on an admission plugin. What is empty is as the
// plugin declares it.
type AdmissionPolicy struct {
	// FailurePolicy is Fail or Ignore.
	FailurePolicy string
	// Timeout of one call.
	Timeout time.Duration
	// ExemptNamespaces are never asked about, beside those that never are.
	ExemptNamespaces []string
}

// ReplacementStrategy says how one instance of a plugin follows another.
type ReplacementStrategy string

// The strategies.
const (
	// HandOver starts the new beside the old, hands calls and work over, and ends the old:
	// the default.
	HandOver ReplacementStrategy = "HandOver"
	// RestartFirst checks the new beside the old, ends both, and starts the new: for plugins
	// of which there must never be two at work.
	RestartFirst ReplacementStrategy = "Restart"
)

// DefaultWatchPeriod is how long a new version is watched where nothing else is said.
const DefaultWatchPeriod = time.Minute

// Replacement is how a new instance takes the place of another.
type Replacement struct {
	// Strategy is HandOver where empty.
	Strategy ReplacementStrategy
	// WatchPeriod is how long the new has to work before it has proven itself: should it
	// fail earlier, what ran before comes back. DefaultWatchPeriod where zero.
	WatchPeriod time.Duration
}

// Limits bound what a plugin's processes may take together.
type Limits struct {
	// MemoryBytes is the most memory.
	MemoryBytes int64
	// MilliCPU is the most CPU, in thousandths of a core.
	MilliCPU int64
	// Processes is the most processes and threads.
	Processes int64
	// DiskBytes is the most that may be kept in the plugin's private directory.
	DiskBytes int64
}

// FirstParty reports whether the plugin is part of the host's own distribution.
func (s *Spec) FirstParty() bool { return s.Path == "" && s.Source == Source{} }

// Connection says how a plugin reaches the API server; see protocol.Connection.
type Connection = protocol.Connection

// Tokens is where the API server learns of plugins' bearer tokens.
type Tokens interface {
	Register(token string, user resource.User)
	Revoke(token string)
}

// Config is what a host needs. Dir and one of (SocketPath and Tokens) or API are required.
type Config struct {
	// Dir belongs to the host: plugins' private directories, sockets and logs. Sockets'
	// paths are limited to about 100 bytes, so Dir should be short.
	Dir string
	// SocketPath is the API server's unix socket, and Tokens where plugins' tokens are
	// made known to it.
	SocketPath string
	Tokens     Tokens
	// API overrides both: it returns how the named plugin reaches the API server, and a
	// function that takes the credentials back. It is called once per launch.
	API func(ctx context.Context, plugin string) (Connection, func(), error)
	// Client is the host's own identity, by which it keeps Plugin objects and permissions.
	// Without one the host runs plugins and publishes nothing.
	Client *rest.Config
	// ManagePermissions makes the host keep a ClusterRole and ClusterRoleBinding
	// "pintle:plugin:NAME" for each plugin. Hosts on nodes leave that to the server's.
	ManagePermissions bool
	// Node is the node's name on a node, else empty.
	Node string
	// Version of the host, told to plugins.
	Version string
	Logger  *slog.Logger
	// OnBundle is called when a plugin offers resource types: at its first start, and
	// again when it comes back with other definitions. The bundle stays valid when the
	// plugin restarts; while it is away its hooks answer 503.
	OnBundle func(name string, b resource.Bundle) error
	// OnAPIService is called when a plugin serves versions of API groups: at its first start,
	// and again when it comes back with others. The service stays valid when the plugin
	// restarts. Without it, such plugins are of no use to this host.
	OnAPIService func(name string, served []apiservice.GroupVersion, s APIService) error
	// OnTypesGone is called when types that OnBundle was given are a plugin's no longer.
	OnTypesGone func(name string, types []schema.GroupResource) error
	// TypeOwner says which definition has a type now, for the check of a plugin that would
	// bring it, and false where there is none.
	TypeOwner func(schema.GroupResource) (source string, ok bool)
	// CountObjects of a type. Types that have some can't be given up by an upgrade.
	CountObjects func(context.Context, schema.GroupResource) (int, error)
	// Own gives the entries of the host's own plugins, for Plugin objects without a source.
	Own func(name string, placement Placement) (Spec, error)
	// Purge deletes the objects of a type, and returns how many are still there.
	Purge func(context.Context, schema.GroupResource) (int, error)
	// Fetcher gets the files of plugins that have a Source. Without one, paths are all
	// that is known.
	Fetcher Fetcher

	// Admission is where plugins take part in admission; nil on nodes.
	Admission *plugins.Plugins
	// Authenticators and Authorizers are where the plugins of these names are asked.
	Authenticators map[string]Seat[authentication.Authenticator]
	Authorizers    map[string]Seat[authorization.Authorizer]

	// Standby hosts do not run controllers and schedulers until SetLeading(true).
	Standby bool
	// StartTimeout bounds the time from fork to handshake. 10 s where zero.
	StartTimeout time.Duration
	// CallTimeout bounds Info, ConfigSchema, Configure and Definitions. 10 s where zero.
	CallTimeout time.Duration
	// StopTimeout is how long a plugin may take to stop before it is killed. 5 s where zero.
	StopTimeout time.Duration
	// DrainTimeout bounds the time in which calls under way may end on an instance that gets no
	// more of them. 15 s where zero.
	DrainTimeout time.Duration
	// HookTimeout bounds one hook call of a process plugin. 10 s where zero.
	HookTimeout time.Duration
	// PingInterval is the time between health checks. 5 s where zero.
	PingInterval time.Duration
	// LogBytes is the size at which a plugin's log file is rotated, one old file being
	// kept. 4 MiB where zero.
	LogBytes int64
	// Backoff between restarts.
	Backoff Backoff

	// Metrics receives the plugins' metrics; nil counts for their statuses only.
	Metrics prometheus.Registerer
	// Hide are paths that third parties' plugins do not see, beside Dir.
	Hide []string
	// Users is the range that third parties' plugins have their user ids from.
	Users confine.Range
	// Limits of a third party's plugin whose own say nothing. Where zero, 512 MiB of memory,
	// a quarter of the machine's cores, 256 processes and threads, and 1 GiB on the disk. Where all want the CPU,
	// guests come last.
	Limits Limits
}

func (c *Config) complete() error {
	if c.Dir == "" || !filepath.IsAbs(c.Dir) {
		return fmt.Errorf("plugin host: dir %q: an absolute path is needed", c.Dir)
	}
	if c.API == nil && (c.SocketPath == "" || c.Tokens == nil) {
		return fmt.Errorf("plugin host: plugins have no way to the API server: give SocketPath and Tokens, or API")
	}
	if c.API == nil {
		c.API = c.connectBySocket
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Fetcher == nil {
		c.Fetcher = pathFetcher{}
	}
	if c.Own == nil {
		c.Own = func(name string, _ Placement) (Spec, error) {
			return Spec{Name: name}, fmt.Errorf("spec.source: is required, as this host has no plugin %q of its own", name)
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.StartTimeout, 10 * time.Second},
		{&c.CallTimeout, 10 * time.Second},
		{&c.StopTimeout, 5 * time.Second},
		{&c.DrainTimeout, 15 * time.Second},
		{&c.HookTimeout, 10 * time.Second},
		{&c.PingInterval, 5 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.LogBytes <= 0 {
		c.LogBytes = 4 << 20
	}
	if c.Limits.MemoryBytes <= 0 {
		c.Limits.MemoryBytes = 512 << 20
	}
	if c.Limits.MilliCPU <= 0 {
		c.Limits.MilliCPU = int64(runtime.NumCPU()) * 1000 / 4
	}
	if c.Limits.Processes <= 0 {
		c.Limits.Processes = 256
	}
	if c.Limits.DiskBytes <= 0 {
		c.Limits.DiskBytes = 1 << 30
	}
	c.Backoff.complete()
	return nil
}

// Validate says what is wrong with an entry, naming the plugin and the field.
func (s *Spec) Validate() error {
	if msgs := validation.IsDNS1123Label(s.Name); len(msgs) > 0 {
		return fmt.Errorf("plugin %q: name: %s", s.Name, msgs[0])
	}
	fail := func(field, why string) error {
		return fmt.Errorf("plugin %q: %s: %s", s.Name, field, why)
	}
	switch s.Placement {
	case "", Process:
		switch {
		case s.Source != Source{}:
			if len(s.Command) > 0 || s.Path != "" {
				return fail("source", "can't be given together with command or path")
			}
		case (len(s.Command) == 0) == (s.Path == ""):
			return fail("path", "exactly one of command (first-party) and path (third-party) is needed")
		case s.Path != "" && !filepath.IsAbs(s.Path):
			return fail("path", fmt.Sprintf("%q is not an absolute path", s.Path))
		case len(s.Command) > 0 && !filepath.IsAbs(s.Command[0]):
			return fail("command", fmt.Sprintf("%q is not an absolute path", s.Command[0]))
		case s.Path != "" && s.SHA256 == "":
			return fail("sha256", "the checksum of a third-party binary is required (sha256sum "+s.Path+")")
		}
	case Builtin:
		if s.Builtin == nil {
			return fail("placement", "this plugin is not linked into the host; use placement process")
		}
	case Served:
		if s.Dial == nil {
			return fail("placement", "nobody serves this plugin; use placement process")
		}
	default:
		return fail("placement", fmt.Sprintf("%q is neither process nor builtin", s.Placement))
	}
	if s.SHA256 != "" && !isSHA256(s.SHA256) {
		return fail("sha256", fmt.Sprintf("%q is not a SHA-256 sum of 64 hexadecimal digits", s.SHA256))
	}
	if len(s.Settings) > 0 && !json.Valid(s.Settings) {
		return fail("settings", "not valid JSON")
	}
	return nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}
