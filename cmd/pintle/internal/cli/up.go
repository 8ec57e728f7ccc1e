package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/node"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
	"github.com/pintle-dev/pintle/core/auth/pki"
)

func newUp() *cobra.Command {
	var o options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "up", Short: "Start a cluster on this machine, or what of it was killed, detached, and wait until it is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return up(ctx, cmd, dir, cfg)
		},
	}
	o.register(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait until the cluster is ready")
	return cmd
}

func up(ctx context.Context, cmd *cobra.Command, dir layout.Dir, cfg config.Config) error {
	missing, err := notRunning(dir, cfg)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return fmt.Errorf("a cluster is running in %s already; `pintle down --data-dir %s` stops it", dir, dir)
	}
	raw, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the configuration: %w", err)
	}
	if err := pki.WriteFile(dir.Config(), raw); err != nil {
		return fmt.Errorf("keeping the configuration: %w", err)
	}
	if err := startMissing(ctx, cmd, dir, cfg, missing); err != nil {
		// Half a cluster helps nobody. What ran before goes on.
		for _, name := range slices.Backward(missing) {
			_, serr := process.Stop(context.WithoutCancel(ctx), dir.Lock(name), stopGrace)
			err = errors.Join(err, serr)
		}
		return err
	}
	cmd.Printf("\nexport KUBECONFIG=%s\n", dir.Kubeconfig())
	return nil
}

// notRunning lists the processes that a configuration asks for and that do not run: all of
// them, or the one that was killed.
func notRunning(dir layout.Dir, cfg config.Config) ([]string, error) {
	wanted := []string{serverProcess}
	if cfg.Node.Enabled {
		wanted = append(wanted, agentProcess)
	}
	var missing []string
	for _, name := range wanted {
		pid, err := process.Find(dir.Lock(name))
		if err != nil {
			return nil, err
		}
		if pid == 0 {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// startMissing starts processes one after the other, each when the one before is ready.
func startMissing(ctx context.Context, cmd *cobra.Command, dir layout.Dir, cfg config.Config, missing []string) error {
	started := time.Now()
	if slices.Contains(missing, serverProcess) {
		if err := start(ctx, dir, serverProcess, func(ctx context.Context) error {
			return checkReady(ctx, dir)
		}); err != nil {
			return err
		}
		cmd.Printf("API server at %s, ready after %s\n", cfg.API.URL(), time.Since(started).Round(time.Millisecond))
	}
	if slices.Contains(missing, agentProcess) {
		name, err := node.Name(cfg.Node)
		if err != nil {
			return err
		}
		since := time.Now()
		if err := start(ctx, dir, agentProcess, func(ctx context.Context) error {
			return checkNode(ctx, dir, name, since)
		}); err != nil {
			return err
		}
		cmd.Printf("node %s ready after %s\n", name, time.Since(started).Round(time.Millisecond))
	}
	return nil
}

// start runs one of our own processes detached and waits until ready returns nil. Should
// the process end before, its last words are in the error.
func start(ctx context.Context, dir layout.Dir, name string, ready func(context.Context) error) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this executable: %w", err)
	}
	logFile := dir.Log(name)
	_, ended, err := process.Start(logFile, self, name, "--data-dir", string(dir), "--config", dir.Config())
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case err := <-ended:
			if err == nil {
				err = errors.New("it ended by itself")
			}
			return fmt.Errorf("the %s ended before it was ready: %w\n%s", name, err, lastLines(logFile, 10))
		case <-ctx.Done():
			return fmt.Errorf("the %s is not ready: %w (its log is %s)", name, last, logFile)
		case <-tick.C:
		}
	}
}

func lastLines(file string, n int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
