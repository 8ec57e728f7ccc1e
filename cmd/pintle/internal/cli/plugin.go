package cli

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/serve"
)

// pluginView is a Plugin object as the commands read it.
type pluginView struct {
	Name         string `json:"-"`
	PluginStatus `json:"status"`
	Metadata     metav1.ObjectMeta `json:"metadata"`
	Spec         pluginSpec        `json:"spec"`
	RawSpec      map[string]any    `json:"-"`
}

type pluginSpec struct {
	Placement string `json:"placement"`
	Disabled  bool   `json:"disabled"`
	Source    struct {
		Path      string `json:"path"`
		Directory string `json:"directory"`
		OCI       string `json:"oci"`
	} `json:"source"`
	Version string         `json:"version"`
	SHA256  string         `json:"sha256"`
	Node    string         `json:"node"`
	Network bool           `json:"network"`
	Limits  map[string]any `json:"limits"`
	// SettingsFrom is read by people only.
	SettingsFrom []host.SettingsSource `json:"settingsFrom"`
}

// PluginStatus is the status of a Plugin object.
type PluginStatus struct {
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Points      []string `json:"extensionPoints"`
	PID         int64    `json:"pid"`
	UserID      int64    `json:"userID"`
	Health      string   `json:"health"`
	Reason      string   `json:"reason"`
	Restarts    int64    `json:"restarts"`
	Circuit     string   `json:"circuit"`
	NextStart   string   `json:"nextStart"`
	LastExit    struct {
		At string `json:"at"`
	} `json:"lastExit"`
	StartedAt   string   `json:"startedAt"`
	LogFile     string   `json:"logFile"`
	LastOutput  []string `json:"lastOutput"`
	LastReason  string   `json:"lastReason"`
	Panic       string   `json:"panic"`
	SHA256      string   `json:"sha256"`
	Digest      string   `json:"digest"`
	SignedBy    string   `json:"signedBy"`
	Types       []string `json:"types"`
	Confined    []string `json:"confined"`
	NotConfined []string `json:"notConfined"`

	Calls              int64 `json:"calls"`
	Errors             int64 `json:"errors"`
	MemoryBytes        int64 `json:"memoryBytes"`
	CPUMilliseconds    int64 `json:"cpuMilliseconds"`
	ObservedGeneration int64 `json:"observedGeneration"`

	Requested  []rbacv1.PolicyRule `json:"requestedPermissions"`
	Granted    []rbacv1.PolicyRule `json:"grantedPermissions"`
	Pending    []rbacv1.PolicyRule `json:"pendingPermissions"`
	Conditions []metav1.Condition  `json:"conditions"`

	Uses           []string               `json:"uses"`
	PendingUses    []string               `json:"pendingUses"`
	PendingMachine []string               `json:"pendingMachine"`
	Requires       []manifest.Requirement `json:"requires"`

	History []pluginRevision `json:"history"`
}

// pluginRevision is an entry of a plugin's history.
type pluginRevision struct {
	Number  int64          `json:"revision"`
	Version string         `json:"version"`
	Source  string         `json:"source"`
	SHA256  string         `json:"sha256"`
	Digest  string         `json:"digest"`
	State   string         `json:"state"`
	Reason  string         `json:"reason"`
	At      string         `json:"at"`
	Spec    map[string]any `json:"spec"`
}

func newPlugin() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Look at and steer plugins"}
	cmd.AddCommand(newPluginList(), newPluginInfo(), newPluginLogs(), newPluginRestart(), newPluginServe())
	cmd.AddCommand(newPluginInstall(), newPluginUpgrade(), newPluginRollback(), newPluginRemove(), newPluginGrant(), newPluginTop())
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
	v.RawSpec, _ = object["spec"].(map[string]any)
	return v, nil
}

func listPlugins(ctx context.Context, dir layout.Dir) ([]pluginView, error) {
	c := pluginCluster{options: options{dataDir: string(dir)}}
	return c.list(ctx)
}

func newPluginList() *cobra.Command {
	var c pluginCluster
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins of the cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins, err := c.list(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			at := time.Now()
			fmt.Fprintln(w, "NAME\tVERSION\tPLACEMENT\tHEALTH\tSINCE\tRESTARTS\tNOTE")
			for _, p := range plugins {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", p.Name, orDash(p.Version), cmp.Or(p.Spec.Placement, string(host.Process)), p.Health, p.since(at), p.Restarts, line(p.note(at), maxNote))
			}
			return w.Flush()
		},
	}
	c.register(cmd)
	return cmd
}

func newPluginRestart() *cobra.Command {
	var c pluginCluster
	cmd := &cobra.Command{
		Use: "restart NAME", Short: "Restart a plugin", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := time.Now().UTC().Format(time.RFC3339Nano)
			if _, err := c.patch(cmd.Context(), args[0], map[string]any{"spec": map[string]any{"restartedAt": at}}); err != nil {
				return err
			}
			cmd.Printf("plugin %s is restarted\n", args[0])
			return nil
		},
	}
	c.register(cmd)
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
