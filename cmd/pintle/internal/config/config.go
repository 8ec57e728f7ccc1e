// Package config is the one configuration structure of Pintle: what a file, the
// environment and flags may say, with defaults and checks. It knows nothing of the parts
// that it configures.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config is a whole configuration.
type Config struct {
	// Name of this server among those of its cluster; the machine's host name where empty. It
	// is kept at the first start and never changes.
	Name    string   `json:"name"`
	API     API      `json:"api"`
	Cluster Cluster  `json:"cluster"`
	Store   Store    `json:"store"`
	Node    Node     `json:"node"`
	Plugins []Plugin `json:"plugins"`
	// PluginTrust says where plugins may come from, and whose signatures are trusted.
	PluginTrust PluginTrust `json:"pluginTrust"`
	// Guests bounds plugins of third parties.
	Guests Guests `json:"guests"`
	Log    Log    `json:"log"`
	// Backup makes backups by themselves.
	Backup Backup `json:"backup"`
	// Memory is the size of the server's heap from which it collects garbage more eagerly;
	// 0 sets no such limit. It is no promise: what must stay in memory stays.
	Memory Bytes `json:"memory"`
}

// API configures the API server.
type API struct {
	// Listen is the "address:port" served over TLS.
	Listen string `json:"listen"`
	// Advertise is the address at which other machines and pods reach the API, which the
	// service "kubernetes" points at. Empty: that of Listen, or the machine's own where
	// Listen is for all addresses. An API that listens on loopback alone is not advertised.
	Advertise string `json:"advertise"`
	// Hosts are further names and addresses that the serving certificate is valid for.
	Hosts []string `json:"hosts"`
	// ServiceCIDR is the range of cluster IPs.
	ServiceCIDR string `json:"serviceCIDR"`
	// ClusterDomain is the DNS domain of services.
	ClusterDomain string `json:"clusterDomain"`
	// Anonymous lets requests without credentials in as system:anonymous.
	Anonymous bool   `json:"anonymous"`
	Limits    Limits `json:"limits"`
	// Access says who gets in; its keys stand beside these.
	Access `json:",inline"`
	// Admission configures the admission plugins of the Kubernetes kinds.
	Admission Admission `json:"admission"`
	// PriorityAndFairness sorts requests by FlowSchemas into priority levels and lets each
	// level have its share of what Limits allows. Without it reads and writes are let in as
	// they come.
	PriorityAndFairness bool `json:"priorityAndFairness"`
	// ShutdownDelay is how long a server that is told to stop still serves, with /readyz
	// failing, so that load balancers find another one.
	ShutdownDelay Duration `json:"shutdownDelay"`
	// Tracing sends spans of requests to an OpenTelemetry collector; without an endpoint
	// there are none.
	Tracing Tracing `json:"tracing"`
}

// Address is Listen as a client on this machine dials it: the unspecified address, which
// nobody can dial, becomes loopback.
func (a API) Address() string {
	host, port, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return a.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// URL of the API server for clients on this machine.
func (a API) URL() string { return "https://" + a.Address() }

// Tracing says where spans go and how many.
type Tracing struct {
	// Endpoint is the "host:port" of a collector that speaks OTLP over gRPC without TLS.
	Endpoint string `json:"endpoint"`
	// SamplingRatePerMillion of requests whose callers have not decided themselves.
	SamplingRatePerMillion int `json:"samplingRatePerMillion"`
}

// Limits bound what requests may cost; zero values mean the server's defaults.
type Limits struct {
	// Body of a request, such as "3Mi".
	Body Bytes `json:"body"`
	// Reads and Writes in flight; more are answered 429.
	Reads  int `json:"reads"`
	Writes int `json:"writes"`
	// RequestTimeout of requests that are no watch and no byte stream.
	RequestTimeout Duration `json:"requestTimeout"`
}

// Store configures the replicated store.
type Store struct {
	// Cache bounds the objects kept in memory.
	Cache Bytes `json:"cache"`
	// Events bounds the events kept in memory for watchers.
	Events Bytes `json:"events"`
	// HistoryWindow is how long old revisions stay readable and watchable.
	HistoryWindow Duration `json:"historyWindow"`
	// HistoryRevisions bounds the same by their number, HistorySize by what they occupy on disk;
	// 0: a million, and 256 MiB.
	HistoryRevisions uint64 `json:"historyRevisions"`
	HistorySize      Bytes  `json:"historySize"`
	// LogSize bounds the log of changes that are not in the state yet, or that other servers may
	// still want; 0: 64 MiB.
	LogSize Bytes `json:"logSize"`
	// MinFree is the room on the disk that is kept: below it writes are refused; 0: 128 MiB.
	MinFree Bytes `json:"minFree"`
	// Encryption keeps objects from being read at rest.
	Encryption Encryption `json:"encryption"`
}

// Node configures the node agent.
type Node struct {
	// Enabled runs an agent on this machine with `pintle up`.
	Enabled bool `json:"enabled"`
	// Name of the Node object; the machine's host name where empty.
	Name string `json:"name"`
	// IP the node is reached at; the address of the default route's link where empty.
	IP string `json:"ip"`
	// Listen is the "address:port" of the agent's own HTTPS server.
	Listen string `json:"listen"`
	// Labels of the Node object.
	Labels map[string]string `json:"labels"`
	// ExternalCloud leaves the node's provider id and addresses to the plugin "cloud", without
	// which no pods are scheduled to it.
	ExternalCloud bool `json:"externalCloud"`
	// ClusterDNS are name servers for pods; empty leaves them the node's.
	ClusterDNS []string `json:"clusterDNS"`
	// Driver runs the containers: "containerd", also where empty, or the name of a plugin that
	// runs on this node and is a container runtime. "sim" is one of Pintle's own, whose
	// containers are hollow.
	Driver string `json:"driver"`
	// Network is the name of the plugin that connects the pods, "network" where empty. It runs on
	// this node; where there is no such plugin pods can only be in the node's own network.
	Network    string     `json:"network"`
	Containerd Containerd `json:"containerd"`
	// PlainHTTPRegistries are registries reached without TLS, beside those on loopback.
	PlainHTTPRegistries []string `json:"plainHTTPRegistries"`
}

// NetworkPlugin is the name of the plugin that connects the pods.
func (n Node) NetworkPlugin() string {
	if n.Network == "" {
		return "network"
	}
	return n.Network
}

// PluginDriver is the plugin that runs the containers, false where containerd does.
func (n Node) PluginDriver() (plugin string, ok bool) {
	return n.Driver, n.Driver != "" && n.Driver != "containerd"
}

// Containerd says which containerd an agent uses.
type Containerd struct {
	// Address of a running containerd's socket. Empty: the agent runs one of its own
	// below the data directory.
	Address string `json:"address"`
	// Binary of the agent's own containerd, found through PATH where it has no slash.
	Binary string `json:"binary"`
	// Snapshotter, chosen by the agent where empty.
	Snapshotter string `json:"snapshotter"`
}

// Plugin is an entry of the catalogue.
type Plugin struct {
	// Name of the plugin. A name of a first-party plugin with no path means that plugin.
	Name string `json:"name"`
	// Disabled keeps an entry without running it.
	Disabled bool `json:"disabled"`
	// Placement is "process" (the default) or "builtin".
	Placement string `json:"placement"`
	// Path of a third party's binary, absolute or relative to the configuration file.
	Path string `json:"path"`
	// SHA256 of the binary at Path.
	SHA256 string `json:"sha256"`
	// Origin is where it comes from, where that is no Path.
	Origin `json:",inline"`
	// Args given to the binary.
	Args []string `json:"args"`
	// Grant gives the plugin all permissions it asks for.
	Grant bool `json:"grant"`
	// Permissions granted where Grant is not set.
	Permissions []rbacv1.PolicyRule `json:"permissions"`
	// Env is the plugin's environment; nothing is inherited.
	Env map[string]string `json:"env"`
	// MemoryLimit is the soft limit of the plugin's heap.
	MemoryLimit Bytes `json:"memoryLimit"`
	// Network lets a third party's plugin reach the machine's network, as a cloud provider has to.
	Network bool `json:"network"`
	// Settings are the plugin's own, checked against its schema.
	Settings json.RawMessage `json:"settings,omitempty"`
}

// Log configures logging.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `json:"level"`
	// Format is text or json.
	Format string `json:"format"`
}

// Default is what holds where nothing else is said.
func Default() Config {
	return Config{
		API: API{
			Listen: "127.0.0.1:6443", ServiceCIDR: "10.96.0.0/16", ClusterDomain: "cluster.local", Anonymous: true,
			PriorityAndFairness: true, Access: Access{RequestHeader: defaultRequestHeader()},
		},
		Node: Node{Listen: ":10250", Containerd: Containerd{Binary: "containerd"}},
		Log:  Log{Level: "info", Format: "text"},
		// With the defaults of the store's caches this leaves room for requests.
		Memory: 112 << 20,
	}
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// Validate names the first key whose value can't be used, and says why.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.API.Listen); err != nil {
		return fmt.Errorf("api.listen: %q is not address:port: %w", c.API.Listen, err)
	}
	if c.API.Advertise != "" && net.ParseIP(c.API.Advertise) == nil {
		return fmt.Errorf("api.advertise: %q is not an IP address", c.API.Advertise)
	}
	if p, err := netip.ParsePrefix(c.API.ServiceCIDR); err != nil || p.Masked() != p {
		return fmt.Errorf("api.serviceCIDR: %q is not a range of addresses", c.API.ServiceCIDR)
	}
	if t := c.API.Tracing; t.Endpoint != "" {
		if _, _, err := net.SplitHostPort(t.Endpoint); err != nil {
			return fmt.Errorf("api.tracing.endpoint: %q is not host:port: %w", t.Endpoint, err)
		}
		if t.SamplingRatePerMillion < 0 || t.SamplingRatePerMillion > 1_000_000 {
			return fmt.Errorf("api.tracing.samplingRatePerMillion: %d is not between 0 and 1000000", t.SamplingRatePerMillion)
		}
	} else if t.SamplingRatePerMillion != 0 {
		return errors.New("api.tracing.endpoint: is required where samplingRatePerMillion is set")
	}
	if err := c.API.Access.validate(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Node.Listen); err != nil {
		return fmt.Errorf("node.listen: %q is not address:port: %w", c.Node.Listen, err)
	}
	if c.Node.IP != "" && net.ParseIP(c.Node.IP) == nil {
		return fmt.Errorf("node.ip: %q is not an IP address", c.Node.IP)
	}
	for i, ip := range c.Node.ClusterDNS {
		if net.ParseIP(ip) == nil {
			return fmt.Errorf("node.clusterDNS[%d]: %q is not an IP address", i, ip)
		}
	}
	if c.Node.Name != "" {
		if msgs := validation.IsDNS1123Subdomain(c.Node.Name); len(msgs) > 0 {
			return fmt.Errorf("node.name: %q: %s", c.Node.Name, msgs[0])
		}
	}
	if _, ok := c.Node.PluginDriver(); ok {
		if msgs := validation.IsDNS1123Label(c.Node.Driver); len(msgs) > 0 {
			return fmt.Errorf("node.driver: %q is neither containerd nor the name of a plugin: %s", c.Node.Driver, msgs[0])
		}
	}
	if msgs := validation.IsDNS1123Label(c.Node.NetworkPlugin()); len(msgs) > 0 {
		return fmt.Errorf("node.network: %q is not the name of a plugin: %s", c.Node.Network, msgs[0])
	}
	if err := c.validateAdmission(); err != nil {
		return err
	}
	if err := c.validateCluster(); err != nil {
		return err
	}
	if err := c.Store.Encryption.validate(c.Plugins); err != nil {
		return err
	}
	if err := c.Backup.validate(); err != nil {
		return err
	}
	if err := c.PluginTrust.validate(); err != nil {
		return err
	}
	if err := c.Guests.validate(); err != nil {
		return err
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
	}
	seen := map[string]int{}
	for i, p := range c.Plugins {
		at := fmt.Sprintf("plugins[%d]", i)
		if msgs := validation.IsDNS1123Label(p.Name); len(msgs) > 0 {
			return fmt.Errorf("%s.name: %q: %s", at, p.Name, msgs[0])
		}
		if first, ok := seen[p.Name]; ok {
			return fmt.Errorf("%s.name: %q is taken by plugins[%d]", at, p.Name, first)
		}
		seen[p.Name] = i
		if p.Placement != "" && p.Placement != "process" && p.Placement != "builtin" {
			return fmt.Errorf("%s.placement: %q is neither process nor builtin", at, p.Placement)
		}
		if p.Path != "" && p.SHA256 == "" {
			return fmt.Errorf("%s.sha256: is required for the binary at %s (sha256sum prints it)", at, p.Path)
		}
		if p.SHA256 != "" && !sha256Pattern.MatchString(p.SHA256) {
			return fmt.Errorf("%s.sha256: %q is not 64 hexadecimal digits", at, p.SHA256)
		}
		if err := p.validate(at); err != nil {
			return err
		}
	}
	return nil
}

// Duration is a time.Duration written as "10m" or "1h30m".
type Duration time.Duration

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10m: %w", b, err)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Bytes is a number of bytes, written as a number or as a quantity such as "64Mi".
type Bytes int64

// UnmarshalText parses a quantity.
func (b *Bytes) UnmarshalText(text []byte) error {
	q, err := resource.ParseQuantity(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a size such as 64Mi: %w", text, err)
	}
	if q.Sign() < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*b = Bytes(q.Value())
	return nil
}

// UnmarshalJSON also takes a plain number.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return b.UnmarshalText([]byte(s))
}
