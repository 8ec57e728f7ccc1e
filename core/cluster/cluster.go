package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/store"
)

// Replication is the part of the store that makes servers one; *store.Store implements it.
type Replication interface {
	Objects
	Peers() []store.Peer
	AddLearner(ctx context.Context, id, address string) error
	AddVoter(ctx context.Context, id, address string) error
	RemoveServer(ctx context.Context, id string) error
	TransferLeadership() error
	TransferLeadershipTo(id string) error
	Ask(ctx context.Context, address string, question []byte) ([]byte, error)
	Leadership() (leader bool, address string)
	LeadershipChanged() <-chan struct{}
	Barrier(ctx context.Context) error
	Removed() bool
	SetRemoved()
	Revision() uint64
	Address() string
}

// Config of one server's part in the cluster.
type Config struct {
	Identity Identity
	// Dir is the certificate directory.
	Dir string
	// API are the URLs at which clients reach this server.
	API []string
	// Version of this server.
	Version string
	// Learner: this server stays without a vote.
	Learner bool
	// Settings that servers which join must share.
	Settings Settings
	// Ready says why this server is not ready to serve clients, if so.
	Ready func() error
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Cluster is one server's part in its cluster.
type Cluster struct {
	cfg Config
	log *slog.Logger

	store Replication
	bound chan struct{} // closed when store is set

	// changing serialises changes of who takes part, on the leader.
	changing sync.Mutex

	mu sync.Mutex
	// servers is what the leader has seen last; changed is closed when it changes.
	servers []Server
	changed chan struct{}
	// kick ends the leader's pause.
	kick chan struct{}
	// settled counts for how many looks in a row a learner has been close.
	settled map[string]int
	seen    map[string]answerStatus
}

// New returns a server's part in its cluster. Answer may be asked at once; Run begins it.
func New(cfg Config) *Cluster {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Cluster{
		cfg: cfg, log: cfg.Logger.With("component", "cluster"),
		bound: make(chan struct{}), changed: make(chan struct{}),
		kick:    make(chan struct{}, 1),
		settled: map[string]int{}, seen: map[string]answerStatus{},
	}
}

// Server is what is known of one server.
type Server struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Role is leader, voter or learner.
	Role string `json:"role"`
	// Address for the other servers, API for clients.
	Address string   `json:"address"`
	API     []string `json:"api,omitempty"`
	Version string   `json:"version,omitempty"`
	// Behind is by how many revisions it is behind the leader.
	Behind uint64 `json:"behind"`
	// Healthy: it answers, and is ready for clients. Reason says why not.
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason,omitempty"`
}

// The roles of servers.
const (
	RoleLeader  = "leader"
	RoleVoter   = "voter"
	RoleLearner = "learner"
)

// question is what servers ask each other.
type question struct {
	Op string `json:"op"`
	// Hops ends questions that are handed around while nobody knows who leads.
	Hops int `json:"hops,omitempty"`

	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	Learner bool   `json:"learner,omitempty"`
}

const (
	opAdd      = "add"
	opStatus   = "status"
	opServers  = "servers"
	opRemove   = "remove"
	opTransfer = "transfer"
	// opMember asks whether the server that asks is one of the cluster's.
	opMember = "member"
)

// answerStatus is how a server is.
type answerStatus struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	API      []string `json:"api"`
	Version  string   `json:"version"`
	Revision uint64   `json:"revision"`
	NotReady string   `json:"notReady,omitempty"`
	Learner  bool     `json:"learner,omitempty"`
}

type answerServers struct {
	Servers []Server `json:"servers"`
	Warning string   `json:"warning,omitempty"`
}

const maxHops = 3

// Answer answers the questions of other servers; it is store.Config.Asked.
func (c *Cluster) Answer(ctx context.Context, from string, raw []byte) ([]byte, error) {
	select {
	case <-c.bound:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var q question
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("question of another server: %w", err)
	}
	if q.Op == opStatus {
		return json.Marshal(c.status())
	}
	if q.Op == opAdd && q.ID != from && !c.member(from) {
		return nil, fmt.Errorf("%s asks in the name of %s", from, q.ID)
	}
	if q.Op != opAdd && q.Op != opMember && !c.member(from) {
		return nil, fmt.Errorf("%w: %s", store.ErrRemoved, from)
	}
	if leads, _ := c.store.Leadership(); !leads {
		if q.Hops >= maxHops {
			return nil, fmt.Errorf("%w, nor is one found", store.ErrNotLeader)
		}
		return c.askLeader(ctx, q)
	}
	var (
		answer any = struct{}{}
		err    error
	)
	switch q.Op {
	case opMember:
		answer, err = c.isMember(ctx, q.ID)
	case opAdd:
		err = c.add(ctx, q)
	case opServers:
		answer = c.look(ctx)
	case opRemove:
		answer, err = c.remove(ctx, q)
	case opTransfer:
		err = c.transfer(q.Name)
	default:
		err = fmt.Errorf("unknown question %q; is this server older than the one that asks?", q.Op)
	}
	if err != nil {
		return nil, err
	}
	if raw, ok := answer.(json.RawMessage); ok {
		return raw, nil
	}
	return json.Marshal(answer)
}

// askLeader hands a question on.
func (c *Cluster) askLeader(ctx context.Context, q question) ([]byte, error) {
	q.Hops++
	raw, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	return c.store.Ask(ctx, "", raw)
}

// ask has the leader answer, wherever it is.
func (c *Cluster) ask(ctx context.Context, q question, answer any) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if raw, err = c.store.Ask(ctx, "", raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("answer of the leader: %w", err)
	}
	return nil
}

func (c *Cluster) member(id string) bool {
	return slices.ContainsFunc(c.store.Peers(), func(p store.Peer) bool { return p.ID == id })
}

// IsMember says whether this server takes part in its cluster.
func (c *Cluster) IsMember() bool { return c.member(c.cfg.Identity.ID) }

func (c *Cluster) status() answerStatus {
	st := answerStatus{
		ID: c.cfg.Identity.ID, Name: c.cfg.Identity.Name, API: c.cfg.API, Version: c.cfg.Version,
		Revision: c.store.Revision(), Learner: c.cfg.Learner,
	}
	if c.cfg.Ready != nil {
		if err := c.cfg.Ready(); err != nil {
			st.NotReady = err.Error()
		}
	}
	return st
}

// Bind gives the cluster its store, which asks it from then on.
func (c *Cluster) Bind(s Replication) {
	c.store = s
	close(c.bound)
}

const (
	// joinRetry is the pause between two attempts to be added.
	joinRetry = 250 * time.Millisecond
	// maxRefusals in a row end the attempt: the cluster has a reason that does not go away.
	maxRefusals = 4
	// leaderless is how long nobody is known to lead before a server asks the others
	// whether it is still one of them.
	leaderless = 5 * time.Second
	// lookInterval is how often the leader looks how the others are, and busyInterval
	// while there is one to promote.
	lookInterval = time.Second
	busyInterval = 200 * time.Millisecond
	// aloneInterval is for who has no others to look after.
	aloneInterval = 5 * time.Minute
	// statusTimeout is how long one may take to answer.
	statusTimeout = 2 * time.Second
)

// Join has the leader add this server, where it is no member yet, and returns when its state
// is as new as the cluster's.
func (c *Cluster) Join(ctx context.Context) error {
	if c.IsMember() || len(c.cfg.Identity.Peers) == 0 {
		return nil
	}
	raw, err := json.Marshal(question{
		Op: opAdd, ID: c.cfg.Identity.ID, Name: c.cfg.Identity.Name, Address: c.store.Address(), Learner: c.cfg.Learner,
	})
	if err != nil {
		return err
	}
	var (
		last    string
		refused int
	)
	for try := 0; ; try++ {
		address := c.cfg.Identity.Peers[try%len(c.cfg.Identity.Peers)]
		call, cancel := context.WithTimeout(ctx, joinTimeout)
		_, err := c.store.Ask(call, address, raw)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrRefused) {
			refused = 0
		} else if refused++; refused == maxRefusals {
			return fmt.Errorf("joining the cluster: %w", err)
		}
		if text := err.Error(); text != last {
			c.log.Warn("Not let into the cluster yet", "by", address, "error", err)
			last = text
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return fmt.Errorf("joining the cluster by %s: %w", address, errors.Join(err, ctx.Err()))
		}
	}
	c.log.Info("Joined the cluster", "name", c.cfg.Identity.Name, "id", c.cfg.Identity.ID)
	for {
		err := c.store.Barrier(ctx)
		if err == nil && c.IsMember() {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrNotLeader) {
			return fmt.Errorf("catching up with the cluster: %w", err)
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run does what the leader does for the others, while this server leads, until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := c.store.LeadershipChanged()
		leads, _ := c.store.Leadership()
		if !leads {
			c.publish(nil)
			t := time.NewTimer(leaderless)
			select {
			case <-changed:
			case <-t.C:
				c.checkMembership(ctx)
			case <-ctx.Done():
			}
			t.Stop()
			continue
		}
		c.lead(ctx, changed)
	}
	return nil
}

// lead looks after the others until the lead is lost.
func (c *Cluster) lead(ctx context.Context, lost <-chan struct{}) {
	c.mu.Lock()
	clear(c.settled)
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	forget := time.NewTicker(10 * time.Minute)
	defer forget.Stop()
	for {
		busy, err := c.tend(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotLeader) {
			c.log.Warn("Looking after the other servers", "error", err)
		}
		pause := lookInterval
		switch {
		case busy:
			pause = busyInterval
		case err == nil && len(c.store.Peers()) == 1:
			pause = aloneInterval
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-c.kick:
		case <-forget.C:
			if err := forgetTokens(ctx, c.store, time.Now()); err != nil {
				c.log.Warn("Removing old join tokens", "error", err)
			}
		case <-lost:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}
