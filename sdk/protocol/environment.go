package protocol

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// Connection says how a plugin reaches the API server with its own identity. It is
// handed over inside the plugin's mutually authenticated channel, never in arguments or
// environment.
type Connection struct {
	// Socket is the path of the server's unix socket; where it is set, Server is not
	// dialled.
	Socket string
	// Server is a base URL such as "https://127.0.0.1:6443".
	Server string
	// Token is a bearer token.
	Token string
	// CA, Cert and Key are PEM.
	CA, Cert, Key []byte
	// ServerName is the name in the server's certificate where it is not the URL's host.
	ServerName string
}

// Environment is plugin.Env as it goes over the wire.
type Environment struct {
	API   Connection
	Node  string
	Dir   string
	Peers plugin.PeersAddress
}

// DataEnv names the plugin's directory, which Env.Dir is too, for what runs before that is there.
const DataEnv = "PINTLE_DATA"

// Limits on requests of one client: the server has its own.
const (
	clientQPS   = 1000
	clientBurst = 2000
	dialTimeout = 10 * time.Second
)

// RESTConfig returns an ordinary client-go configuration. Through a socket it speaks
// plain HTTP to it.
func (c Connection) RESTConfig(userAgent string) (*rest.Config, error) {
	cfg := &rest.Config{
		UserAgent:   userAgent,
		BearerToken: c.Token,
		QPS:         clientQPS,
		Burst:       clientBurst,
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/json",
			AcceptContentTypes: "application/json",
		},
	}
	switch {
	case c.Socket != "":
		socket := c.Socket
		cfg.Host = "http://localhost"
		cfg.DisableCompression = true // costs more on one machine than it saves
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialTimeout}
			return d.DialContext(ctx, "unix", socket)
		}
	case c.Server != "":
		cfg.Host = c.Server
		cfg.TLSClientConfig = rest.TLSClientConfig{
			CAData: c.CA, CertData: c.Cert, KeyData: c.Key, ServerName: c.ServerName,
		}
	default:
		return nil, fmt.Errorf("no way to the API server: neither a socket nor a URL is given")
	}
	return cfg, nil
}

// Env makes what a running plugin is given.
func (e Environment) Env(info plugin.Info, log *slog.Logger) (plugin.Env, error) {
	cfg, err := e.API.RESTConfig("pintle-plugin-" + info.Name + "/" + info.Version)
	if err != nil {
		return plugin.Env{}, fmt.Errorf("environment of plugin %s: %w", info.Name, err)
	}
	return plugin.Env{Config: cfg, Log: log, Node: e.Node, Dir: e.Dir, Peers: e.Peers}, nil
}

// EnvironmentToWire converts an environment.
func EnvironmentToWire(e Environment) *pluginv1.Environment {
	out := &pluginv1.Environment{
		Node: e.Node,
		Dir:  e.Dir,
		Api: &pluginv1.Connection{
			Socket: e.API.Socket, Server: e.API.Server, BearerToken: e.API.Token,
			CaPem: e.API.CA, ClientCertPem: e.API.Cert, ClientKeyPem: e.API.Key,
			TlsServerName: e.API.ServerName,
		},
	}
	if e.Peers != (plugin.PeersAddress{}) {
		out.Peers = &pluginv1.PeersAddress{Socket: e.Peers.Socket, Token: e.Peers.Token}
	}
	return out
}

// EnvironmentFromWire converts an environment.
func EnvironmentFromWire(e *pluginv1.Environment) Environment {
	a := e.GetApi()
	return Environment{
		Node: e.GetNode(),
		Dir:  e.GetDir(),
		Peers: plugin.PeersAddress{
			Socket: e.GetPeers().GetSocket(), Token: e.GetPeers().GetToken(),
		},
		API: Connection{
			Socket: a.GetSocket(), Server: a.GetServer(), Token: a.GetBearerToken(),
			CA: a.GetCaPem(), Cert: a.GetClientCertPem(), Key: a.GetClientKeyPem(),
			ServerName: a.GetTlsServerName(),
		},
	}
}
