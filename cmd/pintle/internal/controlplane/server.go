package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/aggregation"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/signing"
	"github.com/pintle-dev/pintle/core/backup/schedule"
	"github.com/pintle-dev/pintle/core/cluster"
	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
)

// Server is a running control plane's parts.
type Server struct {
	cfg        config.Config
	dir        layout.Dir
	log        *slog.Logger
	authority  *pki.Authority
	store      *store.Store
	keys       *encryption.Keyring // nil where nothing is encrypted
	tokens     *auth.TokenStore
	api        *apiserver.Server
	types      *customresources.Controller
	access     *access
	webhooks   *webhook.Webhooks
	policies   *policy.Policies
	plugins    *plugins.Plugins
	aggregator *aggregation.Aggregator
	backups    *schedule.Runner            // nil where none are scheduled
	tracing    func(context.Context) error // sends the last spans; nil where there are none
	fairness   *fairness.Controller        // nil where it is not wanted
	metrics    prometheus.Registerer       // of the API, and of the plugins beside it

	registry   *registry.Registry
	pluginHost atomic.Pointer[host.Host] // nil until it is made

	identity cluster.Identity
	cluster  *cluster.Cluster
	// started and draining are for the other servers, which ask how this one is.
	started, draining atomic.Bool
}

// Run serves until ctx ends.
func Run(ctx context.Context, cfg config.Config, dir layout.Dir, log *slog.Logger) (err error) {
	started := time.Now()
	s := &Server{cfg: cfg, dir: dir, log: log, tokens: auth.NewTokenStore()}
	if err := s.identify(ctx); err != nil {
		return err
	}
	if s.authority, err = pki.Open(pki.Config{Dir: dir.PKI(), Logger: log}); err != nil {
		return err
	}
	// The port is taken first: a second server must not get as far as the store.
	listeners, err := s.listen(ctx)
	if err != nil {
		return err
	}
	stopKeys, err := s.openKeys(ctx)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	defer stopKeys()
	storeConfig := store.Config{
		Dir: dir.Store(), Logger: log,
		CacheBytes: int64(cfg.Store.Cache), EventBytes: int64(cfg.Store.Events),
		HistoryWindow: time.Duration(cfg.Store.HistoryWindow), Sealer: s.sealer(),
		HistoryRevisions: cfg.Store.HistoryRevisions, HistoryBytes: int64(cfg.Store.HistorySize),
		LogBytes: int64(cfg.Store.LogSize), MinFreeBytes: uint64(cfg.Store.MinFree),
	}
	if err := s.joinCluster(&storeConfig); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	if s.store, err = store.Open(ctx, storeConfig); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	if s.keys != nil {
		s.keys.Attach(s.store)
	}
	if err := s.enterCluster(ctx); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	defer s.endTracing()

	reg := registry.New()
	s.registry = reg
	told := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(told))
	defer cancel()
	// The group ends when one part ends, whatever the reason.
	group, ctx := errgroup.WithContext(ctx)
	if s.access, err = newAccess(s, group, ctx); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	if err := s.newAPI(reg); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(told, func() {
		s.draining.Store(true)
		s.handOver()
		s.api.Drain()
		time.AfterFunc(time.Duration(cfg.API.ShutdownDelay), stop)
	})()
	s.types = customresources.New(customresources.Config{
		Store: s.store, Registry: reg, Purger: s.api, Logger: log,
		Leading: func() bool { leads, _ := s.store.Leadership(); return leads },
	})
	group.Go(func() error { return s.runKeys(ctx) })
	group.Go(func() error { return s.types.Run(ctx) })
	group.Go(func() error { return s.aggregator.Run(ctx) })
	group.Go(func() error { return s.cluster.Run(ctx) })
	group.Go(func() error { return s.signer().Run(ctx, s.store) })
	group.Go(func() error { return s.webhooks.Run(ctx, s.store) })
	group.Go(func() error { return s.policies.Run(ctx, s.store) })
	group.Go(func() error {
		return s.policies.RunTypeChecking(ctx, s.api.Writer(), func() bool { leads, _ := s.store.Leadership(); return leads })
	})
	if s.backups != nil {
		group.Go(func() error { return s.runBackups(ctx) })
	}
	if s.fairness != nil {
		group.Go(func() error { return s.fairness.Run(ctx, s.store) })
	}
	group.Go(func() error {
		defer cancel()
		return s.serve(ctx, serving, listeners, started)
	})
	return group.Wait()
}

// signer signs approved certificate requests with the cluster's authority.
func (s *Server) signer() *signing.Controller {
	return signing.New(signing.Config{
		Authority: s.authority, Writer: s.api.Writer(), Logger: s.log,
		Leading: func() bool { leads, _ := s.store.Leadership(); return leads },
	})
}

// listen opens the TCP address over TLS and the unix socket of plugins.
func (s *Server) listen(ctx context.Context) ([]net.Listener, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", s.cfg.API.Listen)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w", err)
	}
	socket := s.dir.APISocket()
	// A socket file that a killed server left would refuse the address.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("removing the old API socket: %w", err), tcp.Close())
	}
	unix, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("API socket: %w", err), tcp.Close())
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("API socket: %w", err), tcp.Close(), unix.Close())
	}
	return []net.Listener{tcp, unix}, nil
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) servingTLS() (*tls.Config, error) {
	prefix, err := netip.ParsePrefix(s.cfg.API.ServiceCIDR)
	if err != nil {
		return nil, fmt.Errorf("api.serviceCIDR: %w", err)
	}
	listenHost, _, err := net.SplitHostPort(s.cfg.API.Listen)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w", err)
	}
	hosts := append([]string{listenHost}, s.cfg.API.Hosts...)
	if addr, ok := s.cfg.API.Advertised(); ok {
		hosts = append(hosts, addr.String())
	}
	pair, err := s.authority.Serving(pki.Server{
		Hosts:         hosts,
		ServiceIP:     prefix.Addr().Next().AsSlice(),
		ClusterDomain: s.cfg.API.ClusterDomain,
	})
	if err != nil {
		return nil, err
	}
	conf := pki.ServerTLS(pair)
	conf.NextProtos = []string{"h2", "http/1.1"}
	cluster.ServeJoin(conf, pair.TLS(), s.authority.CA())
	return conf, nil
}

// populate writes what a cluster needs before anybody uses it, then runs the plugins.
func (s *Server) populate(ctx context.Context, started time.Time) error {
	admin, forget, err := s.loopback()
	if err != nil {
		return err
	}
	defer forget()
	if err := s.ensureFirstObjects(ctx, admin); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return fmt.Errorf("first objects of the cluster: %w", err)
	}
	if err := s.writeKubeconfig(); err != nil {
		return err
	}
	h, err := s.newPluginHost(admin)
	if err != nil {
		return err
	}
	s.access.markReady()
	s.started.Store(true)
	s.log.Info("ready", "address", s.cfg.API.Listen, "after", time.Since(started).Round(time.Millisecond))
	go s.followLead(ctx, admin, h)
	go s.keepEndpoints(ctx, admin)
	return h.Run(ctx)
}

// hidden is what plugins of third parties do not see of the machine.
func (s *Server) hidden() []string { return []string{string(s.dir), s.dir.Run()} }

// writeAggregatedRoles shows clients the rules of aggregated cluster roles; decisions do not
// depend on it.
func (s *Server) writeAggregatedRoles(ctx context.Context, admin *rest.Config) {
	client, err := dynamic.NewForConfig(admin)
	if err == nil {
		err = s.access.rbac.WriteAggregated(ctx, client)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("the rules of aggregated cluster roles are not shown", "error", err)
	}
}

// writeKubeconfig writes the administrator's kubeconfig.
func (s *Server) writeKubeconfig() error {
	pair, err := s.authority.Admin()
	if err != nil {
		return err
	}
	return s.authority.WriteKubeconfig(s.dir.Kubeconfig(), s.cfg.API.URL(), "pintle", "admin", pair)
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
