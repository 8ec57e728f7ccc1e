package cluster

import "slices"

// publish makes servers what Servers returns.
func (c *Cluster) publish(servers []Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.EqualFunc(servers, c.servers, func(a, b Server) bool {
		return a.ID == b.ID && a.Role == b.Role && a.Healthy == b.Healthy && slices.Equal(a.API, b.API)
	}) {
		c.servers = servers
		return
	}
	c.tell(servers)
	c.servers = servers
	close(c.changed)
	c.changed = make(chan struct{})
}

// tell logs who has become unwell, and well again. The caller holds the lock.
func (c *Cluster) tell(servers []Server) {
	for _, s := range servers {
		i := slices.IndexFunc(c.servers, func(o Server) bool { return o.ID == s.ID })
		switch was := i < 0 || c.servers[i].Healthy; {
		case was && !s.Healthy && s.ID != c.cfg.Identity.ID:
			c.log.Warn("A server is not well", "name", s.Name, "id", s.ID, "reason", s.Reason)
		case !was && s.Healthy:
			c.log.Info("A server is well again", "name", s.Name, "id", s.ID)
		}
	}
}

// Servers is what the leader has seen last, nothing on others; changed is closed when who
// there is, leads or is healthy has changed.
func (c *Cluster) Servers() (servers []Server, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.servers), c.changed
}
