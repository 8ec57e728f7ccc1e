package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/host"
)

func newPluginInfo() *cobra.Command {
	var c pluginCluster
	var all bool
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Show a plugin: how it is and why, what it may do and takes, and what it was before", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if err := c.printNodes(cmd.Context(), cmd.OutOrStdout(), &p); err != nil {
				return err
			}
			if err := p.printHistory(cmd.OutOrStdout()); err != nil {
				return err
			}
			if p.Panic != "" {
				cmd.Printf("\nPanic:\n%s\n", p.Panic)
			}
			p.printLastLines(cmd.OutOrStdout(), all)
			return nil
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all lines before it last ended, and not only the last of them")
	return cmd
}

func (v *pluginView) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, value)
		}
	}
	row("Name", v.Name)
	row("Version", v.Version)
	row("Description", v.Description)
	row("Extension points", strings.Join(v.Points, ", "))
	row("Types", strings.Join(v.Types, ", "))
	row("Placement", v.Spec.Placement)
	row("Node", v.Spec.Node)
	row("Path", v.Spec.Source.Path)
	row("Directory", v.Spec.Source.Directory)
	row("Artifact", v.Spec.Source.OCI)
	row("Wanted version", v.Spec.Version)
	row("Digest", v.Digest)
	row("Signed by", v.SignedBy)
	if v.SHA256 == "" {
		v.SHA256 = v.Spec.SHA256
	}
	row("SHA-256", v.SHA256)
	at := time.Now()
	row("Health", strings.TrimSuffix(v.Health+" since "+v.since(at), " since -"))
	row("Reason", v.Reason)
	if d := ago(v.NextStart, at); v.NextStart != "" && d != "" {
		row("Next start", v.NextStart)
	}
	if v.Circuit != string(host.CircuitClosed) {
		row("Circuit", v.Circuit)
	}
	for _, c := range v.Conditions {
		if c.Type == host.ConditionReady || c.Status == metav1.ConditionTrue && c.Reason != "Serving" {
			continue
		}
		row(c.Type, fmt.Sprintf("%s (%s): %s", c.Status, c.Reason, c.Message))
	}
	if v.PID > 0 {
		row("Process", fmt.Sprint(v.PID))
	}
	if v.UserID > 0 {
		row("User", fmt.Sprint(v.UserID))
	}
	row("Started", v.StartedAt)
	row("Restarts", fmt.Sprint(v.Restarts))
	if d := ago(v.LastExit.At, at); d != "" && v.LastReason != "" {
		row("Last end", d+" ago: "+v.LastReason)
	} else {
		row("Last end", v.LastReason)
	}
	row("Log", v.LogFile)
	row("Confined", strings.Join(v.Confined, ", "))
	for _, missing := range v.NotConfined {
		row("Not confined", missing)
	}
	for _, name := range []string{"memory", "cpu", "processes"} {
		if limit, ok := v.Spec.Limits[name]; ok {
			row("Limit of "+name, fmt.Sprint(limit))
		}
	}
	row("Takes", fmt.Sprintf("%d MiB, %s of CPU time", v.MemoryBytes>>20, (time.Duration(v.CPUMilliseconds)*time.Millisecond).Round(10*time.Millisecond)))
	row("Calls", fmt.Sprintf("%d, %d of them failed", v.Calls, v.Errors))
	for _, q := range v.Requires {
		row("Requires", strings.TrimSpace(q.Plugin+" "+q.Version))
	}
	for _, from := range v.Spec.SettingsFrom {
		if r := from.SecretRef; r != nil {
			row("Settings from", fmt.Sprintf("Secret %s/%s, key %s", r.Namespace, r.Name, r.Key))
		}
	}
	row("Calls plugins", strings.Join(v.Uses, ", "))
	for _, list := range []struct {
		name  string
		rules []rbacv1.PolicyRule
	}{{"Granted", v.Granted}, {"Requested", v.Requested}, {"Pending", v.Pending}} {
		for _, r := range list.rules {
			row(list.name, ruleText(r))
		}
	}
	row("Pending calls", strings.Join(v.PendingUses, ", "))
	for _, missing := range v.PendingMachine {
		row("Pending", missing)
	}
	if v.pendingText() != "" {
		row("To grant", "pintle plugin grant "+v.Name)
	}
	return w.Flush()
}

func (v *pluginView) printHistory(out io.Writer) error {
	if len(v.History) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	now := time.Now()
	fmt.Fprintln(w, "REVISION\tVERSION\tSTATE\tSINCE\tSOURCE\tREASON")
	for _, r := range v.History {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Number, orDash(r.Version), r.State, ago(r.At, now), r.Source, line(r.Reason, maxNote))
	}
	if err := w.Flush(); err != nil {
		return err //nolint:wrapcheck // the terminal's
	}
	if back, err := v.before(0); err == nil {
		fmt.Fprintf(out, "`pintle plugin rollback %s` goes back to version %s, --to REVISION to another.\n", v.Name, back.Version)
	}
	return nil
}

func ruleText(r rbacv1.PolicyRule) string { return host.RulesText([]rbacv1.PolicyRule{r}) }
