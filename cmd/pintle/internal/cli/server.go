package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/controlplane"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/node"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
)

// Names of the processes, for their locks and logs.
const (
	serverProcess = "server"
	agentProcess  = "agent"
)

func newServer() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "server", Short: "Run the control plane in the foreground", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir, cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			lock, err := process.Lock(dir.Lock(serverProcess))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.Close()) }()
			process.BoundMemory(100, int64(cfg.Memory))
			process.TrimAfterStart()
			process.TrimWhenQuiet()
			return controlplane.Run(cmd.Context(), cfg, dir, newLogger(cfg.Log))
		},
	}
	o.register(cmd)
	addServerCommands(cmd)
	return cmd
}

func newAgent() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "agent", Short: "Run the node agent in the foreground", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir, cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			lock, err := process.Lock(dir.Lock(agentProcess))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.Close()) }()
			process.TrimAfterStart()
			process.TrimWhenQuiet()
			return node.Run(cmd.Context(), cfg, dir, newLogger(cfg.Log))
		},
	}
	o.register(cmd)
	return cmd
}
