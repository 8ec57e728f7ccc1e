package cluster

import (
	"context"
	"slices"
)

// A learner is promoted when it was at most so many revisions behind at so many looks in a row.
const (
	closeEnough = 256
	looksClose  = 3
)

// tend looks how the servers are, remembers it, and promotes learners that have caught up.
// It reports whether there is one that has not.
func (c *Cluster) tend(ctx context.Context) (busy bool, err error) {
	records, err := c.records(ctx)
	if err != nil {
		return false, err
	}
	peers := c.store.Peers()
	if len(peers) == 1 && len(records) == 1 && slices.Equal(records[peers[0].ID].API, c.cfg.API) && records[peers[0].ID].Name == c.cfg.Identity.Name {
		// Alone there is nobody to ask.
		c.publish([]Server{{
			Name: c.cfg.Identity.Name, ID: peers[0].ID, Role: RoleLeader, Address: peers[0].Address, API: c.cfg.API,
			Version: c.cfg.Version, Healthy: true,
		}})
		return false, nil
	}
	seen := c.look(ctx)
	c.publish(seen.Servers)
	c.changing.Lock()
	defer c.changing.Unlock()
	for _, s := range seen.Servers {
		if !s.answers() || !c.member(s.ID) {
			continue
		}
		c.mu.Lock()
		st := c.seen[s.ID]
		c.mu.Unlock()
		want := memberRecord{Name: s.Name, API: s.API, Learner: st.Learner}
		if have, ok := records[s.ID]; !ok || have.Name != want.Name || have.Learner != want.Learner || !slices.Equal(have.API, want.API) {
			if err := c.remember(ctx, s.ID, want); err != nil {
				return busy, err
			}
		}
		if s.Role != RoleLearner || want.Learner {
			continue
		}
		busy = true
		if s.Behind > closeEnough {
			c.settled[s.ID] = 0
			continue
		}
		if c.settled[s.ID]++; c.settled[s.ID] < looksClose {
			continue
		}
		if err := c.store.AddVoter(ctx, s.ID, s.Address); err != nil {
			return busy, err
		}
		delete(c.settled, s.ID)
		c.log.Info("Promoted a server: it has a vote now", "name", s.Name, "id", s.ID)
		if w := warning(c.look(ctx).Servers); w != "" {
			c.log.Warn(w)
		}
	}
	return busy, c.prune(ctx, records)
}

// prune forgets servers that are none any more, such as those of a cluster that a backup
// was made of.
func (c *Cluster) prune(ctx context.Context, records map[string]memberRecord) error {
	for id := range records {
		if !c.member(id) {
			if err := c.forget(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
