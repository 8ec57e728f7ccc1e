package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/cluster"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/core/store"
)

// joinPatience is how long a server that joins tries to get the cluster's keys.
const joinPatience = 2 * time.Minute

// identify finds out who this server is, at the first start by joining a cluster or founding
// one. It must come before anything is read from the certificate directory.
func (s *Server) identify(ctx context.Context) error {
	file, c := s.dir.Identity(), s.cfg.Cluster
	id, known, err := cluster.LoadIdentity(file, s.cfg.Name)
	if err != nil {
		return err
	}
	hasStore, err := exists(filepath.Join(s.dir.Store(), "raft"))
	if err != nil {
		return err
	}
	name := s.cfg.Name
	if name == "" {
		name = cluster.DefaultName()
	}
	switch {
	case known && id.Opened && !hasStore:
		return fmt.Errorf("the store of this server (%s) is gone, though it has run before: a server can't go on without what it has agreed to. "+
			"Remove the data directory %s and join it anew, or, where it was alone, restore a backup into an empty one", s.dir.Store(), s.dir)
	case known:
	case hasStore:
		// Made before servers had identities.
		id = cluster.Identity{Name: name, ID: cluster.FirstID, Opened: true}
	case c.Join != "":
		if id, err = s.join(ctx, name); err != nil {
			return err
		}
	default:
		if id, err = cluster.NewIdentity(name); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	}
	if !known {
		if err := id.Save(file); err != nil {
			return err
		}
	}
	s.identity = id
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// join gets the cluster's keys. A server that can't be reached yet is asked again.
func (s *Server) join(ctx context.Context, name string) (cluster.Identity, error) {
	token, err := s.cfg.Cluster.JoinToken()
	if err != nil {
		return cluster.Identity{}, err
	}
	if token == "" {
		return cluster.Identity{}, errors.New("cluster.token: is required to join (`pintle server token` on a server of the cluster prints one)")
	}
	deadline := time.Now().Add(joinPatience)
	for {
		id, err := cluster.Join(ctx, cluster.JoinConfig{
			URL: s.cfg.Cluster.Join, Token: token, Name: name, Settings: s.settings(), Dir: s.dir.PKI(),
		})
		var unreachable *net.OpError
		if err == nil || !errors.As(err, &unreachable) || time.Now().After(deadline) {
			return id, err
		}
		s.log.Warn("The cluster can't be reached yet", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return id, err
		}
	}
}

func (s *Server) settings() cluster.Settings {
	return cluster.Settings{ServiceCIDR: s.cfg.API.ServiceCIDR, ClusterDomain: s.cfg.API.ClusterDomain}
}

// apiURL is where clients on other machines reach this server.
func (s *Server) apiURL() string {
	addr, ok := s.cfg.API.Advertised()
	_, port, err := net.SplitHostPort(s.cfg.API.Listen)
	if !ok || err != nil {
		return s.cfg.API.URL()
	}
	return "https://" + net.JoinHostPort(addr.String(), port)
}

// joinCluster adds to conf what makes this server's store one of several.
func (s *Server) joinCluster(conf *store.Config) error {
	c := cluster.Config{
		Identity: s.identity, API: []string{s.apiURL()}, Version: release.Version, Learner: s.cfg.Cluster.Learner,
		Settings: s.settings(), Ready: s.servable, Logger: s.log,
	}
	conf.NodeID = s.identity.ID
	conf.Bootstrap = len(s.identity.Peers) == 0
	if s.cfg.Cluster.Listen != "" {
		c.Dir = s.dir.PKI()
		conf.Address, conf.Advertise = s.cfg.Cluster.Listen, s.cfg.Cluster.Advertise
		var err error
		if conf.PeerTLS, err = cluster.PeerTLS(s.dir.Peers(), s.identity.ID, s.log); err != nil {
			return err
		}
	} else if !conf.Bootstrap {
		return errors.New("cluster.listen: this server is one of several and needs its address back")
	}
	s.cluster = cluster.New(c)
	conf.Asked, conf.AdmitPeer = s.cluster.Answer, s.cluster.Admit
	return nil
}

// enterCluster makes the opened store's server one of the cluster's.
func (s *Server) enterCluster(ctx context.Context) error {
	s.cluster.Bind(s.store)
	if !s.identity.Opened {
		s.identity.Opened = true
		if err := s.identity.Save(s.dir.Identity()); err != nil {
			return err
		}
	}
	if len(s.identity.Peers) == 0 || s.identity.Joined {
		return nil
	}
	if err := s.cluster.Join(ctx); err != nil {
		return err
	}
	s.identity.Joined = true
	return s.identity.Save(s.dir.Identity())
}

// servable says why this server should get no clients, if so.
func (s *Server) servable() error {
	if s.draining.Load() {
		return errors.New("it is being stopped")
	}
	if !s.started.Load() {
		return errors.New("it is starting")
	}
	return s.led()
}

// led says why this server's state may be old, if so.
func (s *Server) led() error {
	if s.store.Removed() || s.identity.Joined && !s.cluster.IsMember() {
		return errors.New("this server has been removed from its cluster: stop it, remove its data directory, and join it again with a new token if it is to come back")
	}
	if leads, address := s.store.Leadership(); !leads && address == "" {
		return errors.New("no leader is known: writes and reads of the newest state wait for one")
	}
	return nil
}

func (s *Server) leads() bool { leads, _ := s.store.Leadership(); return leads }

// clusterCheck is /readyz' view of the cluster.
func (s *Server) clusterCheck() apiserver.Check {
	return apiserver.Check{Name: "leader", Run: func(context.Context) error { return s.led() }}
}

// handOver gives the lead to another server, if there is one with a vote.
func (s *Server) handOver() {
	if !s.leads() {
		return
	}
	voters := 0
	for _, p := range s.store.Peers() {
		if p.Voter {
			voters++
		}
	}
	if voters < 2 {
		return
	}
	if err := s.store.TransferLeadership(); err != nil {
		s.log.Warn("The lead is not handed over: the others will miss this server first", "error", err)
		return
	}
	s.log.Info("Handed over the lead")
}

// firstObjectsKey says which version has written the objects that every cluster has.
const firstObjectsKey = store.Key("cluster.pintle.dev/state/first-objects")

type firstObjects struct {
	Version string `json:"version"`
}

// ensureFirstObjects returns when the objects that every cluster has are there: whoever leads
// writes them, and the others wait.
func (s *Server) ensureFirstObjects(ctx context.Context, admin *rest.Config) error {
	for {
		changed := s.store.LeadershipChanged()
		if s.leads() {
			err := s.bootstrap(ctx, admin)
			if err == nil {
				err = s.markFirstObjects(ctx)
			}
			if err == nil || s.leads() {
				return err
			}
			continue // The lead was lost on the way; who has it now writes them.
		}
		_, err := s.store.Get(ctx, firstObjectsKey)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// firstObjectsAreOurs says whether a server of this version has written them last.
func (s *Server) firstObjectsAreOurs(ctx context.Context) bool {
	o, err := s.store.Get(ctx, firstObjectsKey)
	var have firstObjects
	return err == nil && json.Unmarshal(o.Data, &have) == nil && have.Version == release.Version
}

func (s *Server) markFirstObjects(ctx context.Context) error {
	if s.firstObjectsAreOurs(ctx) {
		return nil
	}
	want, err := json.Marshal(firstObjects{Version: release.Version})
	if err != nil {
		return err
	}
	_, err = s.store.Write(ctx, store.Write{Key: firstObjectsKey, Data: want, RevisionAt: -1, Expect: store.Any})
	return err
}

// followLead tells those who work only where the lead is, and writes the first objects again
// where a server of another version had written them.
func (s *Server) followLead(ctx context.Context, admin *rest.Config, h *host.Host) {
	for ctx.Err() == nil {
		changed := s.store.LeadershipChanged()
		leads := s.leads()
		h.SetLeading(leads)
		leading, end := context.WithCancel(ctx)
		if leads {
			go s.lead(leading, admin)
			s.permitOnNodes(leading, h)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		end()
	}
}

// lead does what one server does for all.
func (s *Server) lead(ctx context.Context, admin *rest.Config) {
	go s.writeAggregatedRoles(ctx, admin)
	go s.showFairness(ctx, admin)
	if s.firstObjectsAreOurs(ctx) {
		return
	}
	if err := s.ensureFirstObjects(ctx, admin); err != nil && ctx.Err() == nil && s.leads() {
		s.log.Error("The first objects of the cluster are not as this version has them", "error", err)
	}
}

// joiningPermission is what a join token is good for.
func joiningPermission() permission {
	return permission{
		role:    "pintle:joining-server",
		subject: rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: cluster.JoiningGroup},
		rules:   []rbacv1.PolicyRule{{NonResourceURLs: []string{cluster.JoinPath}, Verbs: []string{"post"}}},
	}
}

// serversPermission lets nodes know where the servers are.
func serversPermission() permission {
	return permission{
		role:    "pintle:servers",
		subject: rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: auth.NodesGroup},
		rules:   []rbacv1.PolicyRule{{NonResourceURLs: []string{cluster.ServersPath}, Verbs: []string{"get"}}},
	}
}
