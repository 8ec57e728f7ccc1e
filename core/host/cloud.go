package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// cloudHolder keeps a cloud provider open, with the provider's own identity, for as long as its
// session lasts. Who asks it does so through the relay.
type cloudHolder struct {
	supervisor *supervisor
	open       openings[cloud.Services]
}

func newCloudHolder(s *supervisor) *cloudHolder { return &cloudHolder{supervisor: s} }

func (c *cloudHolder) attach(ctx context.Context, g *guest, failed chan<- error) error {
	if g.client == nil {
		return errors.New("a cloud provider runs as a process: use placement process")
	}
	p, ok := g.client.Cloud()
	if !ok {
		return fmt.Errorf("it does not offer point %q", protocol.PointCloud)
	}
	services, err := c.open.attach(ctx, g, c.supervisor.host.config.CallTimeout, failed, p.Open)
	if err != nil {
		return fmt.Errorf("cloud: %w", err)
	}
	c.supervisor.log.Info("a cloud is open", "provider", services.Provider,
		"instances", services.Instances != nil, "loadBalancers", services.LoadBalancers != nil, "routes", services.Routes != nil)
	return nil
}

func (c *cloudHolder) detach() { c.open.detach() }
