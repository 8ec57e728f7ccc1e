package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/runtime/volume"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Network is what the agent asks of pod networking; any sdk/network.Network is one.
type Network interface {
	Setup(ctx context.Context, env plugin.Env, node network.Node) error
	Attach(ctx context.Context, pod network.Pod) (network.Result, error)
	Detach(ctx context.Context, pod network.Pod) error
	Check(ctx context.Context, pod network.Pod) error
	// Teardown is called by the agent's own Teardown alone.
	Teardown(ctx context.Context) error
}

// Config is what an agent needs.
type Config struct {
	// NodeName is the name of the Node object. Required.
	NodeName string
	// NodeIP is the address the node is reached at. Required.
	NodeIP string
	// Client reaches the API server as system:node:<NodeName> or an equal. Required.
	Client *rest.Config
	// Driver runs the containers. Required.
	Driver driver.Driver
	// Network connects pods; nil leaves pods without hostNetwork waiting.
	Network Network
	// NetworkEnv is handed to Network.Setup.
	NetworkEnv plugin.Env
	// Storages mount volumes of claims; without them, claims that are bound to local volumes
	// can be used.
	Storages volume.Storages

	// Dir holds the agent's state: volumes and logs of pods. Absolute. Required.
	Dir string

	// ListenAddress is where the kubelet API is served, ":10250" by default. "-" serves
	// nothing.
	ListenAddress string
	// ServingCert is shown by the kubelet API. Required unless ListenAddress is "-".
	ServingCert *tls.Certificate
	// ClientCA signs the certificates of those who may use the kubelet API. Required
	// unless ListenAddress is "-".
	ClientCA *x509.CertPool
	// ClientNames are the common names that may use it; empty allows every certificate
	// that ClientCA signed for client authentication and that is in system:masters or
	// is named kube-apiserver or kube-apiserver-kubelet-client.
	ClientNames []string

	// Plugins answers requests below /plugins/ of those who may use the kubelet API; may be nil.
	Plugins http.Handler

	// PodCIDRs are used where the Node object has none.
	PodCIDRs []string
	// WaitForPodCIDR makes Run wait for a controller to give the node its pod CIDRs.
	WaitForPodCIDR bool

	// Labels and Taints are put on the node when it is registered; labels also later.
	Labels map[string]string
	Taints []corev1.Taint
	// Capacity overrides what the machine has; keys as in a node's capacity.
	Capacity corev1.ResourceList
	// Reserved is capacity not offered to pods.
	Reserved corev1.ResourceList
	// ProviderID of the node, empty without a cloud.
	ProviderID string
	// ExternalCloud leaves the provider id and addresses of the node to a cloud's controllers:
	// it is registered with the taint that they take away.
	ExternalCloud bool

	// ClusterDNS and ClusterDomain go into pods' resolv.conf. Without ClusterDNS pods
	// with dnsPolicy ClusterFirst get the node's.
	ClusterDNS    []string
	ClusterDomain string
	// ResolvConf is the node's, /etc/resolv.conf by default.
	ResolvConf string

	// CgroupRoot is the cgroup all pods live under, "/pintle" by default.
	CgroupRoot string

	// NoCgroups makes no control groups for pods; for drivers without processes.
	NoCgroups bool

	// LeaseInterval, StatusInterval and ResyncInterval: 10 s, 5 min and 30 s by default.
	LeaseInterval, StatusInterval, ResyncInterval time.Duration

	// Version is reported as the node's kubeletVersion, such as "v1.36.3+pintle".
	Version string

	// ImageGCHighPercent and ImageGCLowPercent of the disk start and end image
	// collection: 85 and 80 by default. 100 switches it off.
	ImageGCHighPercent, ImageGCLowPercent int

	Logger *slog.Logger
}

// complete fills in defaults and checks what is required.
func (c *Config) complete() error {
	var errs []error
	need := func(ok bool, field, why string) {
		if !ok {
			errs = append(errs, fmt.Errorf("agent: %s: %s", field, why))
		}
	}
	need(c.NodeName != "", "NodeName", "is required")
	need(net.ParseIP(c.NodeIP) != nil, "NodeIP", fmt.Sprintf("%q is no IP address", c.NodeIP))
	need(c.Client != nil, "Client", "is required")
	need(c.Driver != nil, "Driver", "is required")
	need(filepath.IsAbs(c.Dir), "Dir", fmt.Sprintf("%q is no absolute path", c.Dir))
	if c.ListenAddress == "" {
		c.ListenAddress = ":10250"
	}
	if c.ListenAddress != "-" {
		need(c.ServingCert != nil, "ServingCert", "is required to serve the kubelet API; set ListenAddress to \"-\" to serve none")
		need(c.ClientCA != nil, "ClientCA", "is required to serve the kubelet API; set ListenAddress to \"-\" to serve none")
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.LeaseInterval, 10*time.Second)
	def(&c.StatusInterval, 5*time.Minute)
	def(&c.ResyncInterval, 30*time.Second)
	if c.CgroupRoot == "" {
		c.CgroupRoot = "/pintle"
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.Version == "" {
		c.Version = "v1.36.3+pintle"
	}
	if c.ImageGCHighPercent == 0 {
		c.ImageGCHighPercent = 85
	}
	if c.ImageGCLowPercent == 0 {
		c.ImageGCLowPercent = 80
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(errs...)
}
