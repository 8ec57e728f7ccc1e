package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
)

func newStatus() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "status", Short: "Show the processes, nodes and plugins of a cluster; exit 1 where one is not well", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			return status(cmd.Context(), cmd, dir, cfg)
		},
	}
	o.register(cmd)
	return cmd
}

func status(ctx context.Context, cmd *cobra.Command, dir layout.Dir, cfg config.Config) error {
	processes := []string{serverProcess}
	if cfg.Node.Enabled {
		processes = append(processes, agentProcess)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	var errs []error
	for _, p := range processes {
		pid, err := process.Find(dir.Lock(p))
		if err != nil {
			return err
		}
		if pid == 0 {
			errs = append(errs, fmt.Errorf("the %s is not running (its log is %s)", p, dir.Log(p)))
			continue
		}
		fmt.Fprintf(w, "%s\tprocess %d\n", p, pid)
	}
	if len(errs) > 0 {
		return errors.Join(append(errs, w.Flush())...)
	}
	ready := "ready"
	if err := checkReady(ctx, dir); err != nil {
		ready = "not ready: " + err.Error()
		errs = append(errs, errors.New("the API server is not ready"))
	}
	fmt.Fprintf(w, "api\t%s, %s\n", cfg.API.URL(), ready)
	errs = append(errs, statusStorage(ctx, w, dir)...)
	if cfg.Cluster.Listen != "" {
		errs = append(errs, statusServers(ctx, w, dir)...)
	}
	errs = append(errs, statusObjects(ctx, w, dir)...)
	return errors.Join(append(errs, w.Flush())...)
}

func statusObjects(ctx context.Context, w *tabwriter.Writer, dir layout.Dir) []error {
	client, err := kubeClient(dir)
	if err != nil {
		return []error{err}
	}
	var errs []error
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []error{fmt.Errorf("nodes: %w", err)}
	}
	for _, n := range nodes.Items {
		state := "ready"
		if err := checkNode(ctx, dir, n.Name, time.Time{}); err != nil {
			state = err.Error()
			errs = append(errs, err)
		}
		fmt.Fprintf(w, "node %s\t%s\n", n.Name, state)
	}
	plugins, err := listPlugins(ctx, dir)
	if err != nil {
		return append(errs, err)
	}
	for _, p := range plugins {
		line := p.Health
		if p.PID != 0 {
			line += fmt.Sprintf(", process %d", p.PID)
		}
		if p.Restarts > 0 {
			line += fmt.Sprintf(", %d restarts", p.Restarts)
		}
		if p.Reason != "" {
			line += ": " + p.Reason
		}
		fmt.Fprintf(w, "plugin %s\t%s\n", p.Name, line)
		if p.Health != "Healthy" && p.Health != "Disabled" {
			errs = append(errs, fmt.Errorf("plugin %s is %s", p.Name, p.Health))
		}
	}
	return errs
}
