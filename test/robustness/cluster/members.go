package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Member is what a server says of one of the cluster.
type Member struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Behind  uint64 `json:"behind"`
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason"`
}

// Members are the servers as the first one that answers sees them.
func (c *Cluster) Members(ctx context.Context) ([]Member, error) {
	err := errors.New("no server runs")
	for _, s := range c.Servers {
		if !s.Running() {
			continue
		}
		var list struct {
			Servers []Member `json:"servers"`
		}
		if err = s.fetch(ctx, "/cluster/v1/servers", &list); err == nil {
			return list.Servers, nil
		}
	}
	return nil, err
}

// fetch reads JSON from the server's API within a second.
func (s *Server) fetch(ctx context.Context, path string, into any) error {
	h, err := s.cluster.admin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	if err != nil {
		return err
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %s", path, s.Name, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Leader is the server that leads, as far as anyone can tell; nil where nobody can.
func (c *Cluster) Leader(ctx context.Context) *Server {
	if len(c.Servers) == 1 {
		return c.Servers[0]
	}
	members, err := c.Members(ctx)
	if err != nil {
		return nil
	}
	for _, m := range members {
		for _, s := range c.Servers {
			if m.Role == "leader" && m.Name == s.Name {
				return s
			}
		}
	}
	return nil
}

// WaitWhole waits until every server has a vote and is up to date: until then one more that
// is lost may be one too many.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	if len(c.Servers) == 1 {
		return nil
	}
	for {
		members, err := c.Members(ctx)
		whole := len(members) == len(c.Servers)
		for _, m := range members {
			whole = whole && m.Healthy && m.Role != "learner"
		}
		if err == nil && whole {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not whole: %+v: %w", members, errors.Join(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Transfer hands the lead to a server.
func (c *Cluster) Transfer(ctx context.Context, to *Server) error {
	for _, s := range c.Servers {
		if s.Running() {
			_, err := s.Run(ctx, "server", "transfer", to.Name, "--data-dir", s.dataDir())
			return err
		}
	}
	return errors.New("no server runs")
}
