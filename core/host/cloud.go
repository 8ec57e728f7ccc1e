package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// cloudHolder keeps a cloud provider open, with the provider's own identity, for as long as its
// session lasts. Who asks it does so through the relay.
type cloudHolder struct {
	supervisor *supervisor
	end        func() // only the session's goroutine looks
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
	timeout := c.supervisor.host.config.CallTimeout
	life, end := context.WithCancel(ctx)
	patience := time.AfterFunc(timeout, end)
	services, gone, err := p.Open(life)
	if !patience.Stop() && ctx.Err() == nil {
		err = fmt.Errorf("it did not say within %s what it offers", timeout)
	}
	if err != nil {
		end()
		return fmt.Errorf("cloud: %w", err)
	}
	c.end = end
	c.supervisor.log.Info("a cloud is open", "provider", services.Provider,
		"instances", services.Instances != nil, "loadBalancers", services.LoadBalancers != nil, "routes", services.Routes != nil)
	go func() {
		<-gone
		if life.Err() == nil {
			failed <- errors.New("it is no longer open as a cloud")
		}
	}()
	return nil
}

func (c *cloudHolder) detach() {
	if c.end != nil {
		c.end()
		c.end = nil
	}
}
