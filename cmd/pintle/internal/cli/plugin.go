package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// pluginView is a Plugin object as the commands read it.
type pluginView struct {
	Name         string `json:"-"`
	pluginStatus `json:"status"`
	Metadata     metav1.ObjectMeta `json:"metadata"`
	Spec         pluginSpec        `json:"spec"`
}

type pluginSpec struct {
	Placement string `json:"placement"`
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
	Node      string `json:"node"`
}

type pluginStatus struct {
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Points      []string `json:"extensionPoints"`
	PID         int64    `json:"pid"`
	Health      string   `json:"health"`
	Reason      string   `json:"reason"`
	Restarts    int64    `json:"restarts"`
	StartedAt   string   `json:"startedAt"`
	LogFile     string   `json:"logFile"`
	LastOutput  []string `json:"lastOutput"`
	LastReason  string   `json:"lastReason"`
	Panic       string   `json:"panic"`

	Requested []rbacv1.PolicyRule `json:"requestedPermissions"`
	Granted   []rbacv1.PolicyRule `json:"grantedPermissions"`
}

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Look at and steer plugins"}
	cmd.AddCommand(newPluginList(), newPluginInfo(), newPluginLogs(), newPluginRestart(), newPluginServe())
	cmd.AddCommand(newPluginAuthoring()...)
	cmd.AddCommand(newPluginPush(), newPluginPull(), newPluginSign(), newPluginVerify(), newPluginKeygen())
	return cmd
}

func viewPlugin(object map[string]any) (pluginView, error) {
	var v pluginView
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &v); err != nil {
		return v, fmt.Errorf("plugin object: %w", err)
	}
	v.Name = v.Metadata.Name
	return v, nil
}

func listPlugins(ctx context.Context, dir layout.Dir) ([]pluginView, error) {
	client, err := pluginClient(dir)
	if err != nil {
		return nil, err
	}
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	out := make([]pluginView, 0, len(list.Items))
	for _, item := range list.Items {
		v, err := viewPlugin(item.Object)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func getPlugin(ctx context.Context, dir layout.Dir, name string) (pluginView, error) {
	client, err := pluginClient(dir)
	if err != nil {
		return pluginView{}, err
	}
	o, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return pluginView{}, fmt.Errorf("plugin %s: %w", name, err)
	}
	return viewPlugin(o.Object)
}

func newPluginList() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins of the cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins, err := listPlugins(cmd.Context(), layout.Dir(o.dataDir))
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tVERSION\tPLACEMENT\tPID\tHEALTH\tRESTARTS\tREASON")
			for _, p := range plugins {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\t%s\n", p.Name, p.Version, p.Spec.Placement, p.PID, p.Health, p.Restarts, p.Reason)
			}
			return w.Flush()
		},
	}
	o.registerDataDir(cmd)
	return cmd
}

func newPluginInfo() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "info NAME", Short: "Show a plugin, and why it last died", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := getPlugin(cmd.Context(), layout.Dir(o.dataDir), args[0])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			row := func(name, value string) {
				if value != "" {
					fmt.Fprintf(w, "%s:\t%s\n", name, value)
				}
			}
			row("Name", p.Name)
			row("Version", p.Version)
			row("Description", p.Description)
			row("Extension points", strings.Join(p.Points, ", "))
			row("Placement", p.Spec.Placement)
			row("Node", p.Spec.Node)
			row("Path", p.Spec.Path)
			row("SHA-256", p.Spec.SHA256)
			row("Health", p.Health)
			row("Reason", p.Reason)
			row("Process", fmt.Sprint(p.PID))
			row("Started", p.StartedAt)
			row("Restarts", fmt.Sprint(p.Restarts))
			row("Last end", p.LastReason)
			row("Log", p.LogFile)
			for _, r := range p.Granted {
				row("Granted", ruleText(r))
			}
			for _, r := range p.Requested {
				row("Requested", ruleText(r))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if p.Panic != "" {
				cmd.Printf("\nPanic:\n%s\n", p.Panic)
			}
			if len(p.LastOutput) > 0 {
				cmd.Printf("\nLast lines before it ended:\n%s\n", strings.Join(p.LastOutput, "\n"))
			}
			return nil
		},
	}
	o.registerDataDir(cmd)
	return cmd
}

func ruleText(r rbacv1.PolicyRule) string {
	if len(r.NonResourceURLs) > 0 {
		return strings.Join(r.Verbs, ",") + " " + strings.Join(r.NonResourceURLs, ",")
	}
	groups := make([]string, len(r.APIGroups))
	for i, g := range r.APIGroups {
		if groups[i] = g; g == "" {
			groups[i] = "core"
		}
	}
	return strings.Join(r.Verbs, ",") + " " + strings.Join(r.Resources, ",") + " (" + strings.Join(groups, ",") + ")"
}

func newPluginLogs() *cobra.Command {
	var o options
	var tail int
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Print what a plugin wrote, from its host's machine", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := getPlugin(cmd.Context(), layout.Dir(o.dataDir), args[0])
			if err != nil {
				return err
			}
			if p.LogFile == "" {
				return fmt.Errorf("plugin %s has no log file yet", p.Name)
			}
			b, err := os.ReadFile(p.LogFile)
			if err != nil {
				return fmt.Errorf("log of plugin %s (is it on this machine?): %w", p.Name, err)
			}
			if tail > 0 {
				cmd.Println(lastLines(p.LogFile, tail))
				return nil
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	o.registerDataDir(cmd)
	cmd.Flags().IntVar(&tail, "tail", 0, "only so many of the last lines; 0 prints all")
	return cmd
}

func newPluginRestart() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "restart NAME", Short: "Restart a plugin", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := pluginClient(layout.Dir(o.dataDir))
			if err != nil {
				return err
			}
			patch, err := json.Marshal(map[string]any{"spec": map[string]any{"restartedAt": time.Now().UTC().Format(time.RFC3339Nano)}})
			if err != nil {
				return fmt.Errorf("encoding the request: %w", err)
			}
			if _, err := client.Patch(cmd.Context(), args[0], types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return fmt.Errorf("plugin %s: %w", args[0], err)
			}
			cmd.Printf("plugin %s is restarted\n", args[0])
			return nil
		},
	}
	o.registerDataDir(cmd)
	return cmd
}

func newPluginServe() *cobra.Command {
	return &cobra.Command{
		Use: "serve NAME", Short: "Be a first-party plugin (started by a host)", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			impl, err := firstparty.New(args[0])
			if err != nil {
				return err
			}
			process.TrimAfterStart()
			process.TrimWhenQuiet()
			serve.Serve(impl, points.Of(impl)...)
			return nil
		},
	}
}
