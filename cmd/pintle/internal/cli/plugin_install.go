package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/firstparty"
	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

// installFlags are those of plugin install and plugin upgrade.
type installFlags struct {
	pluginCluster
	name, version, sha256  string
	allowUnsigned, grant   bool
	network, nodeScoped    bool
	set, settingsFrom      []string
	settings, strategy     string
	watchPeriod, timeout   time.Duration
	memory, cpu, placement string
	processes              int64
	args                   []string
}

func (f *installFlags) register(cmd *cobra.Command) {
	f.pluginCluster.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.version, "version", "", "constraint on the version, such as '>=1.2, <2'")
	fl.StringVar(&f.sha256, "sha256", "", "checksum that the binary must have; that of a binary on this machine is taken where empty")
	fl.BoolVar(&f.allowUnsigned, "allow-unsigned", false, "take it without a signature")
	fl.BoolVar(&f.grant, "grant", false, "grant all permissions that it asks for (see `pintle plugin verify`)")
	fl.BoolVar(&f.network, "network", false, "let it reach the machine's network")
	fl.StringArrayVar(&f.set, "set", nil, "setting, as key=value; dots go deeper, values are YAML; may be given several times")
	fl.StringVar(&f.settings, "settings", "", "file with its settings, YAML or JSON")
	fl.StringArrayVar(&f.settingsFrom, "settings-from", nil, "key of a Secret that holds further settings, as NAMESPACE/NAME/KEY; may be given several times")
	fl.StringVar(&f.strategy, "strategy", "", "how a new version takes over: HandOver (default) or Restart")
	fl.DurationVar(&f.watchPeriod, "watch-period", 0, "how long a new version has to work before the old is given up (default 1m)")
	fl.StringVar(&f.memory, "memory", "", "limit of its memory, such as 64Mi")
	fl.StringVar(&f.cpu, "cpu", "", "limit of its CPU in cores, such as 500m")
	fl.Int64Var(&f.processes, "processes", 0, "limit of its processes and threads")
	fl.DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait until it runs; 0 does not wait")
}

func newPluginInstall() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use: "install SOURCE", Short: "Install a plugin, and wait until it runs",
		Long: "SOURCE is a reference to an OCI artifact (registry.example.com/plugins/widget:1.2.0), a directory with plugin.yaml and its binary, " +
			"a binary, or the name of one of Pintle's own plugins. Paths are those of the server's machine. " +
			"The command writes a Plugin object, as kubectl apply does; what is installed already gets the new source and settings.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.install(cmd, args[0]) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "name of the plugin, where its source does not tell")
	fl.StringVar(&f.placement, "placement", "", "process (default), or builtin for Pintle's own")
	fl.BoolVar(&f.nodeScoped, "node-scoped", false, "run it on each node")
	fl.StringArrayVar(&f.args, "arg", nil, "argument of the binary; may be given several times")
	return cmd
}

func (f *installFlags) install(cmd *cobra.Command, source string) error {
	name, src, err := f.locate(source)
	if err != nil {
		return err
	}
	spec := map[string]any{}
	if src != nil {
		spec["source"] = src
	}
	if err := f.complete(spec); err != nil {
		return err
	}
	for key, v := range map[string]bool{"nodeScoped": f.nodeScoped} {
		if v {
			spec[key] = true
		}
	}
	if f.placement != "" {
		spec["placement"] = f.placement
	}
	if len(f.args) > 0 {
		list := make([]any, 0, len(f.args))
		for _, a := range f.args {
			list = append(list, a)
		}
		spec["args"] = list
	}
	v, err := f.apply(cmd.Context(), name, spec)
	if err != nil {
		return err
	}
	return f.report(cmd, v, "installed")
}

// locate finds out what a source is, and the plugin's name.
func (f *installFlags) locate(source string) (name string, src map[string]any, err error) {
	abs, err := filepath.Abs(source)
	if err != nil {
		return "", nil, fmt.Errorf("source: %w", err)
	}
	st, statErr := os.Stat(abs)
	looksLikePath := strings.HasPrefix(source, "/") || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
	switch {
	case !looksLikePath && firstparty.Known(source):
		name = source
	case statErr == nil && st.IsDir():
		name, src = manifestName(abs), map[string]any{"directory": abs}
	case statErr == nil:
		name, src = filepath.Base(abs), map[string]any{"path": abs}
		if f.sha256 == "" {
			if f.sha256, err = sumOf(abs); err != nil {
				return "", nil, err
			}
		}
	case looksLikePath:
		return "", nil, fmt.Errorf("source %s: %w", source, statErr)
	default:
		_, repository, _, err := catalogue.ParseReference(source)
		if err != nil {
			return "", nil, fmt.Errorf("source %q is no file, no directory, none of Pintle's own plugins (%v), and no reference to an artifact: %w", source, firstparty.Names(), err)
		}
		name, src = path.Base(repository), map[string]any{"oci": source}
	}
	if f.name != "" {
		name = f.name
	}
	return name, src, nil
}

// manifestName is the name in the manifest of a directory, or of the directory itself where
// there is none on this machine.
func manifestName(dir string) string {
	if b, err := os.ReadFile(filepath.Join(dir, manifest.FileName)); err == nil {
		if m, err := manifest.Parse(b); err == nil {
			return m.Name
		}
	}
	return filepath.Base(dir)
}

// complete adds what flags say to a spec.
func (f *installFlags) complete(spec map[string]any) error {
	for key, v := range map[string]string{"version": f.version, "sha256": f.sha256} {
		if v != "" {
			spec[key] = v
		}
	}
	for key, v := range map[string]bool{"allowUnsigned": f.allowUnsigned, "network": f.network} {
		if v {
			spec[key] = true
		}
	}
	if f.grant {
		spec["permissions"] = map[string]any{"grant": host.GrantRequested}
	}
	limits := map[string]any{}
	for key, v := range map[string]string{"memory": f.memory, "cpu": f.cpu} {
		if v != "" {
			limits[key] = v
		}
	}
	if f.processes > 0 {
		limits["processes"] = f.processes
	}
	if len(limits) > 0 {
		spec["limits"] = limits
	}
	replacement := map[string]any{}
	if f.strategy != "" {
		replacement["strategy"] = f.strategy
	}
	if f.watchPeriod > 0 {
		replacement["watchPeriod"] = f.watchPeriod.String()
	}
	if len(replacement) > 0 {
		spec["replacement"] = replacement
	}
	return f.addSettings(spec)
}

func (f *installFlags) addSettings(spec map[string]any) error {
	if len(f.settingsFrom) > 0 {
		var from []any
		for _, ref := range f.settingsFrom {
			parts := strings.Split(ref, "/")
			if len(parts) != 3 {
				return fmt.Errorf("--settings-from %q: must be NAMESPACE/NAME/KEY of a Secret", ref)
			}
			from = append(from, map[string]any{"secretRef": map[string]any{"namespace": parts[0], "name": parts[1], "key": parts[2]}})
		}
		spec["settingsFrom"] = from
	}
	settings, _ := spec["settings"].(map[string]any)
	if f.settings != "" {
		b, err := os.ReadFile(f.settings)
		if err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		settings = nil
		if err := yaml.UnmarshalStrict(b, &settings); err != nil {
			return fmt.Errorf("settings %s: %w", f.settings, err)
		}
	}
	for _, assignment := range f.set {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok || key == "" {
			return fmt.Errorf("--set %q: must be key=value", assignment)
		}
		if settings == nil {
			settings = map[string]any{}
		}
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			return fmt.Errorf("--set %q: %w", assignment, err)
		}
		at := settings
		parts := strings.Split(key, ".")
		for _, part := range parts[:len(parts)-1] {
			next, ok := at[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = v
	}
	if settings != nil {
		spec["settings"] = settings
	}
	return nil
}

// report waits for a plugin and says how it is.
func (f *installFlags) report(cmd *cobra.Command, v pluginView, done string) error {
	if f.timeout <= 0 {
		cmd.Printf("plugin %s is being %s\n", v.Name, done)
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	v, err := f.settled(ctx, v.Name, v.Metadata.Generation)
	if err != nil {
		return err
	}
	cmd.Printf("plugin %s %s is %s: %s\n", v.Name, v.Version, done, strings.TrimSpace(v.Health+" "+v.Reason))
	if pending := v.pendingText(); pending != "" {
		cmd.Printf("It asks for permissions that it has not: %s\n`pintle plugin grant %s` grants them.\n", pending, v.Name)
	}
	return nil
}

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("checksum: %w", err)
	}
	sum, err := checksum(f)
	return sum, errors.Join(err, f.Close())
}
