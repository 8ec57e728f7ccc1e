package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pintle-dev/pintle/core/host"
)

// onNodes reports whether a plugin runs on nodes, and its object is not that of one node.
func (v *pluginView) onNodes() bool {
	scoped, _ := v.RawSpec["nodeScoped"].(bool)
	return scoped && v.Spec.Node == ""
}

// nodesOf lists the objects of a plugin on nodes, by node.
func (c *pluginCluster) nodesOf(ctx context.Context, v *pluginView) ([]pluginView, error) {
	all, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p pluginView) bool {
		return p.Spec.Node == "" || p.Name != host.ObjectName(v.Name, p.Spec.Node)
	})
	slices.SortFunc(all, func(a, b pluginView) int { return strings.Compare(a.Spec.Node, b.Spec.Node) })
	return all, nil
}

// printNodes says how a plugin is on each node.
func (c *pluginCluster) printNodes(ctx context.Context, out io.Writer, v *pluginView) error {
	if !v.onNodes() {
		return nil
	}
	all, err := c.nodesOf(ctx, v)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tVERSION\tPID\tHEALTH\tRESTARTS\tREASON")
	for _, p := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\n", p.Spec.Node, p.Version, p.PID, p.Health, p.Restarts, p.Reason)
	}
	return w.Flush()
}

// noLog is why there is no one log of a plugin that runs on nodes.
func (c *pluginCluster) noLog(ctx context.Context, v *pluginView) error {
	all, err := c.nodesOf(ctx, v)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(all))
	for _, p := range all {
		names = append(names, p.Name)
	}
	return fmt.Errorf("plugin %s runs on nodes, and has a log on each: name one of %s", v.Name, strings.Join(names, ", "))
}
