package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pintle-dev/pintle/core/store"
)

// member is what the store remembers of a server.
type memberRecord struct {
	Name    string   `json:"name"`
	API     []string `json:"api,omitempty"`
	Learner bool     `json:"learner,omitempty"`
}

func memberKey(id string) store.Key { return store.Key(bucket + "/members/" + id) }

// records are the servers that the store remembers, by identity.
func (c *Cluster) records(ctx context.Context) (map[string]memberRecord, error) {
	kept, err := c.store.List(ctx, bucket+"/members/", store.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := map[string]memberRecord{}
	for _, o := range kept.Objects {
		var r memberRecord
		if err := json.Unmarshal(o.Data, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Key, err)
		}
		out[strings.TrimPrefix(string(o.Key), bucket+"/members/")] = r
	}
	return out, nil
}

func (c *Cluster) remember(ctx context.Context, id string, r memberRecord) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.store.Write(ctx, store.Write{Key: memberKey(id), Data: data, RevisionAt: -1, Expect: store.Any})
	return err
}

// removedKey notes who was removed. Its certificate is still good, so it must be told apart.
func removedKey(id string) store.Key { return store.Key(bucket + "/removed/" + id) }

// expel forgets a server that must not come back.
func (c *Cluster) expel(ctx context.Context, id string) error {
	if _, err := c.store.Write(ctx, store.Write{Key: removedKey(id), Data: []byte("{}"), RevisionAt: -1, Expect: store.Any}); err != nil {
		return err
	}
	return c.forget(ctx, id)
}

func (c *Cluster) expelled(ctx context.Context, id string) error {
	_, err := c.store.Get(ctx, removedKey(id))
	switch {
	case err == nil:
		return fmt.Errorf("%w: %s", store.ErrRemoved, id)
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}

// Admit says whether the server id may take part in the replication, by its certificate's
// name; it is store.Config.AdmitPeer. A server knows of those removed what it has applied.
func (c *Cluster) Admit(id string) error {
	select {
	case <-c.bound:
		return c.expelled(context.Background(), id)
	default:
		return nil // It is only starting.
	}
}

func (c *Cluster) forget(ctx context.Context, id string) error {
	_, err := c.store.Write(ctx, store.Write{Key: memberKey(id), Delete: true, Expect: store.Any})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// nameOf a server: what is remembered, else its identity.
func nameOf(id string, records map[string]memberRecord) string { return cmp.Or(records[id].Name, id) }

// add lets a server in as a learner. A server that had its name and is gone is replaced.
func (c *Cluster) add(ctx context.Context, q question) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := CheckName(q.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := c.expelled(ctx, q.ID); err != nil {
		return err
	}
	records, err := c.records(ctx)
	if err != nil {
		return err
	}
	for _, p := range c.store.Peers() {
		switch {
		case p.ID == q.ID:
			return nil // It is in: the answer was lost.
		case nameOf(p.ID, records) == q.Name:
			if _, err := c.askStatus(ctx, p.Address, p.ID); err == nil {
				return fmt.Errorf("there is a server called %q, at %s, and it is alive: give the new one another name, or remove that one first (pintle server remove %s)",
					q.Name, p.Address, q.Name)
			}
			c.log.Info("A new server takes the place of one that does not answer", "name", q.Name, "old", p.ID, "new", q.ID)
			if err := c.store.RemoveServer(ctx, p.ID); err != nil {
				return err
			}
			if err := c.expel(ctx, p.ID); err != nil {
				return err
			}
		case p.Address == q.Address:
			return fmt.Errorf("the address %s is that of server %q: remove that one first (pintle server remove %s), or use another address",
				q.Address, nameOf(p.ID, records), nameOf(p.ID, records))
		}
	}
	if err := c.remember(ctx, q.ID, memberRecord{Name: q.Name, Learner: q.Learner}); err != nil {
		return err
	}
	if err := c.store.AddLearner(ctx, q.ID, q.Address); err != nil {
		return err
	}
	c.log.Info("Let a server in as a learner", "name", q.Name, "id", q.ID, "address", q.Address)
	select {
	case c.kick <- struct{}{}:
	default:
	}
	return nil
}

// remove takes a server out, where what is left can go on.
func (c *Cluster) remove(ctx context.Context, q question) (any, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	servers := c.look(ctx).Servers
	i := slices.IndexFunc(servers, func(s Server) bool { return s.Name == q.Name || s.ID == q.Name })
	if i < 0 {
		return nil, fmt.Errorf("there is no server %q (there are %s)", q.Name, strings.Join(names(servers), ", "))
	}
	gone := servers[i]
	rest := slices.Delete(slices.Clone(servers), i, i+1)
	voters, healthy := countVoters(rest)
	switch {
	case gone.Role != RoleLearner && voters == 0:
		return nil, fmt.Errorf("%s is the only server with a vote", gone.Name)
	case gone.Role != RoleLearner && healthy < voters/2+1:
		return nil, fmt.Errorf("without %s, %d of %d servers with a vote would be well, which is no majority: the cluster would stand still. "+
			"Bring back or replace one of the others first", gone.Name, healthy, voters)
	}
	if gone.Role == RoleLeader {
		if err := c.store.TransferLeadership(); err != nil {
			return nil, err
		}
		// Who leads now removes this server.
		raw, err := c.askLeader(ctx, q)
		return json.RawMessage(raw), err
	}
	if err := c.store.RemoveServer(ctx, gone.ID); err != nil {
		return nil, err
	}
	if err := c.expel(ctx, gone.ID); err != nil {
		return nil, err
	}
	c.log.Info("Removed a server", "name", gone.Name, "id", gone.ID)
	return answerServers{Servers: rest, Warning: warning(rest)}, nil
}

// transfer hands the lead to the server called name, or to any where name is empty.
func (c *Cluster) transfer(name string) error {
	if name == "" {
		others := slices.ContainsFunc(c.store.Peers(), func(p store.Peer) bool { return p.Voter && p.ID != c.cfg.Identity.ID })
		if !others {
			return errors.New("there is no other server with a vote")
		}
		return c.store.TransferLeadership()
	}
	records, err := c.records(context.Background())
	if err != nil {
		return err
	}
	for _, p := range c.store.Peers() {
		if nameOf(p.ID, records) != name && p.ID != name {
			continue
		}
		if p.ID == c.cfg.Identity.ID {
			return nil // it leads
		}
		return c.store.TransferLeadershipTo(p.ID)
	}
	return fmt.Errorf("there is no server %q", name)
}

func names(servers []Server) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.Name
	}
	return out
}

func countVoters(servers []Server) (voters, healthy int) {
	for _, s := range servers {
		if s.Role == RoleLearner {
			continue
		}
		voters++
		if s.answers() {
			healthy++
		}
	}
	return voters, healthy
}

// answers: the server takes part in the replication, ready for clients or not.
func (s *Server) answers() bool { return s.Healthy || s.Version != "" }

// warning says what is wrong with the number of voters, "" where nothing is.
func warning(servers []Server) string {
	voters, _ := countVoters(servers)
	if voters == 0 || voters%2 == 1 {
		return ""
	}
	return fmt.Sprintf("%d servers with a vote bear the loss of %d, no more than %d would: an odd number is better", voters, (voters-1)/2, voters-1)
}

// askStatus asks the server id at address how it is.
func (c *Cluster) askStatus(ctx context.Context, address, id string) (answerStatus, error) {
	if id == c.cfg.Identity.ID {
		return c.status(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	raw, err := c.store.Ask(ctx, address, []byte(`{"op":"`+opStatus+`"}`))
	if err != nil {
		return answerStatus{}, err
	}
	var st answerStatus
	if err := json.Unmarshal(raw, &st); err != nil {
		return answerStatus{}, err
	}
	if st.ID != id {
		return answerStatus{}, fmt.Errorf("at %s is %s", address, st.ID)
	}
	return st, nil
}

// look asks all servers how they are. Only the leader can tell how far they are behind.
func (c *Cluster) look(ctx context.Context) answerServers {
	records, err := c.records(ctx)
	if err != nil {
		c.log.Warn("Reading the servers' records", "error", err)
	}
	peers := c.store.Peers()
	servers := make([]Server, len(peers))
	statuses := make([]answerStatus, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			r := records[p.ID]
			s := Server{Name: nameOf(p.ID, records), ID: p.ID, Address: p.Address, Role: RoleLearner, API: r.API}
			if p.Voter {
				s.Role = RoleVoter
			}
			if p.ID == c.cfg.Identity.ID {
				s.Role = RoleLeader
			}
			newest := c.store.Revision()
			st, err := c.askStatus(ctx, p.Address, p.ID)
			if err != nil {
				s.Reason = "does not answer: " + err.Error()
			} else {
				s.Name, s.API, s.Version = st.Name, st.API, st.Version
				s.Healthy, s.Reason = st.NotReady == "", st.NotReady
				if newest > st.Revision {
					s.Behind = newest - st.Revision
				}
			}
			servers[i], statuses[i] = s, st
		})
	}
	wg.Wait()
	c.mu.Lock()
	clear(c.seen)
	for _, st := range statuses {
		if st.ID != "" {
			c.seen[st.ID] = st
		}
	}
	c.mu.Unlock()
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	return answerServers{Servers: servers, Warning: warning(servers)}
}

// isMember answers a server that does not know whether it is still one of the cluster's. The
// leader makes sure that it leads: an old one might know an old configuration.
func (c *Cluster) isMember(ctx context.Context, id string) (answerMember, error) {
	if err := c.store.Barrier(ctx); err != nil {
		return answerMember{}, err
	}
	return answerMember{Member: c.member(id)}, nil
}

type answerMember struct {
	Member bool `json:"member"`
}

// checkMembership asks the others whether this server is still one of them, where it hears of
// no leader: who was removed while it was away is told nothing any more.
func (c *Cluster) checkMembership(ctx context.Context) {
	if _, leader := c.store.Leadership(); leader != "" || c.store.Removed() {
		return
	}
	raw, err := json.Marshal(question{Op: opMember, ID: c.cfg.Identity.ID})
	if err != nil {
		return
	}
	for _, p := range c.store.Peers() {
		if p.ID == c.cfg.Identity.ID {
			continue
		}
		call, cancel := context.WithTimeout(ctx, statusTimeout)
		said, err := c.store.Ask(call, p.Address, raw)
		cancel()
		var answer answerMember
		if err != nil || json.Unmarshal(said, &answer) != nil {
			continue
		}
		if !answer.Member {
			c.store.SetRemoved()
		}
		return
	}
}
