package agent

import (
	"context"
)

// Agent runs the pods of one node.
type Agent struct {
	cfg Config
}

// New checks the configuration and makes an agent. It touches nothing yet.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Agent{cfg: cfg}, nil
}

// Run works until the context ends. Pods keep running when it returns; another Run, of
// this process or the next, takes them over as they are.
func (a *Agent) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
