package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/cluster"
	"github.com/pintle-dev/pintle/runtime/servers"
)

// access is how a node reaches the API: at one address, or, in a cluster of several servers,
// at that of any of them.
type access struct {
	// url for those who know one address only.
	url  string
	list *servers.List // nil where there is one server
	near net.Listener
}

func newAccess(cfg config.Config, dir layout.Dir, log *slog.Logger) (*access, error) {
	if cfg.Cluster.Listen == "" {
		return &access{url: cfg.API.URL()}, nil
	}
	list, err := servers.New(servers.Config{First: cfg.API.Address(), File: filepath.Join(dir.Node(), "servers.json"), Logger: log})
	if err != nil {
		return nil, err
	}
	near, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // an address of this machine
	if err != nil {
		return nil, fmt.Errorf("address for the node's plugins to reach the API by: %w", err)
	}
	return &access{url: "https://" + near.Addr().String(), list: list, near: near}, nil
}

// apply makes a client reach any of the servers.
func (a *access) apply(conf *rest.Config) {
	if a.list != nil {
		conf.Dial = a.list.Dial
		conf.ServerName = servers.Name
	}
}

// run keeps the list of servers, which client asks for.
func (a *access) run(ctx context.Context, group *errgroup.Group, client *rest.Config) error {
	if a.list == nil {
		return nil
	}
	c, err := kubernetes.NewForConfig(client)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	group.Go(func() error { return a.list.Forward(ctx, a.near) })
	group.Go(func() error {
		a.list.Keep(ctx, func(ctx context.Context) ([]string, error) {
			raw, err := c.Discovery().RESTClient().Get().AbsPath(cluster.ServersPath).DoRaw(ctx)
			if err != nil {
				return nil, err
			}
			return addresses(raw)
		})
		return nil
	})
	return nil
}

// addresses of the servers in an answer of cluster.ServersPath.
func addresses(raw []byte) ([]string, error) {
	var answer cluster.ServersAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("list of servers: %w", err)
	}
	var out []string
	for _, s := range answer.Servers {
		for _, api := range s.API {
			if u, err := url.Parse(api); err == nil && u.Host != "" {
				out = append(out, u.Host)
			}
		}
	}
	return out, nil
}
