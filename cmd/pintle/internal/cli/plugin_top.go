package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/core/host"
)

func newPluginTop() *cobra.Command {
	var c pluginCluster
	cmd := &cobra.Command{
		Use: "top", Short: "Show what plugins take and do, those with the most memory first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins, err := c.list(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			slices.SortStableFunc(plugins, func(a, b pluginView) int { return cmp.Compare(b.MemoryBytes, a.MemoryBytes) })
			fmt.Fprintln(w, "NAME\tHEALTH\tMEMORY\tLIMIT\tCPU\tCALLS\tERRORS\tRESTARTS")
			for _, p := range plugins {
				limit := "-"
				if l, ok := p.Spec.Limits["memory"]; ok {
					limit = fmt.Sprint(l)
				}
				fmt.Fprintf(w, "%s\t%s\t%dMi\t%s\t%s\t%d\t%s\t%d\n", p.Name, p.Health, p.MemoryBytes>>20, limit,
					(time.Duration(p.CPUMilliseconds) * time.Millisecond).Round(10*time.Millisecond), p.Calls, p.failures(), p.Restarts)
			}
			return w.Flush()
		},
	}
	c.register(cmd)
	return cmd
}

func newPluginLogs() *cobra.Command {
	var c pluginCluster
	var tail int
	var follow bool
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Print what a plugin wrote", Args: cobra.ExactArgs(1),
		Long: "The log is that of the host on the server that answers. Of a plugin that runs on nodes NAME is PLUGIN.NODE.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if p.onNodes() {
				return c.noLog(cmd.Context(), &p)
			}
			config, err := c.rest()
			if err != nil {
				return err
			}
			config.Timeout = 0 // following ends when the reader wants it to
			client, err := pathClient(config)
			if err != nil {
				return err
			}
			r := client.Get().AbsPath("/apis/" + host.Group + "/" + host.Version + "/plugins/" + p.Name + "/log")
			if tail > 0 {
				r = r.Param("tailLines", fmt.Sprint(tail))
			}
			if follow {
				r = r.Param("follow", "true")
			}
			body, err := r.Stream(cmd.Context())
			if err != nil {
				return fmt.Errorf("log of plugin %s: %w", p.Name, err)
			}
			defer func() { _ = body.Close() }()
			if _, err = io.Copy(cmd.OutOrStdout(), body); err != nil && cmd.Context().Err() == nil {
				return fmt.Errorf("log of plugin %s: %w", p.Name, err)
			}
			return nil
		},
	}
	c.register(cmd)
	cmd.Flags().IntVar(&tail, "tail", 0, "only so many of the last lines; 0 prints all")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it writes")
	return cmd
}
