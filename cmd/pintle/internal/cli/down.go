package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/node"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
)

const stopGrace = 20 * time.Second

func newDown() *cobra.Command {
	var o options
	var purge bool
	cmd := &cobra.Command{
		Use: "down", Short: "Stop the cluster of a data directory and remove its containers and networks", Args: cobra.NoArgs,
		Long: "Stop the cluster of a data directory and remove its containers, mounts, networks and rules.\n" +
			"The objects stay: the next `pintle up` starts their pods again. --purge removes them too.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Stat(o.dataDir); errors.Is(err, os.ErrNotExist) {
				cmd.Printf("nothing is in %s\n", o.dataDir)
				return nil
			}
			dir, cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			log := newLogger(cfg.Log)
			var errs []error
			for _, name := range []string{agentProcess, serverProcess} {
				was, err := process.Stop(cmd.Context(), dir.Lock(name), stopGrace)
				errs = append(errs, err)
				if was && err == nil {
					cmd.Printf("%s stopped\n", name)
				}
			}
			if cfg.Node.Enabled {
				errs = append(errs, node.Teardown(cmd.Context(), cfg, dir, log))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			return sweep(dir, purge)
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the data directory too")
	return cmd
}

// sweep removes the volatile directory, and with purge everything.
func sweep(dir layout.Dir, purge bool) error {
	paths := []string{dir.Run()}
	if purge {
		paths = append(paths, string(dir))
	}
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("removing %s: %w", p, err)
		}
	}
	return nil
}
