package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/pluginsource"
	"github.com/pintle-dev/pintle/core/catalogue"
	"github.com/pintle-dev/pintle/core/host"
)

// verifyFlags are those of plugin verify.
type verifyFlags struct {
	options
	registryFlags
	keys             []string
	version, sha256  string
	allowUnsigned    bool
	platform, output string
}

func newPluginVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify NAME|DIR|REF", Short: "Say what a plugin is, who signed it and what it asks for; exit 1 where it would not be run",
		Long: "A NAME is a Plugin of the cluster: it is fetched again from its source, and compared with what runs. " +
			"A DIR or a REF is looked at before it is installed. Keys are those of --key, or else those of the configuration (pluginTrust.keys).",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.registerDataDir(cmd)
	f.registryFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration whose pluginTrust holds (default: the one of the data directory, where there is one)")
	fl.StringArrayVar(&f.keys, "key", nil, "file of a public key that is trusted; may be given several times")
	fl.StringVar(&f.version, "version", "", "constraint on the version, such as '>=1.2, <2'")
	fl.StringVar(&f.sha256, "sha256", "", "checksum that the binary must have")
	fl.BoolVar(&f.allowUnsigned, "allow-unsigned", false, "take it without a signature")
	fl.StringVar(&f.platform, "platform", "", "platform whose files are looked at (default: this machine's)")
	fl.StringVarP(&f.output, "output", "o", "", "json, or text")
	return cmd
}

// pluginReport is what plugin verify says.
type pluginReport struct {
	Source   string          `json:"source"`
	Name     string          `json:"name,omitempty"`
	Version  string          `json:"version,omitempty"`
	Tag      string          `json:"tag,omitempty"`
	Digest   string          `json:"digest,omitempty"`
	SHA256   string          `json:"sha256,omitempty"`
	Size     int64           `json:"size,omitempty"`
	SignedBy string          `json:"signedBy,omitempty"`
	Running  string          `json:"runningSHA256,omitempty"`
	Manifest json.RawMessage `json:"manifest,omitempty"`
	Problems []string        `json:"problems,omitempty"`
}

func (f *verifyFlags) run(cmd *cobra.Command, arg string) error {
	source, running, err := f.source(cmd.Context(), arg)
	if err != nil {
		return err
	}
	c, done, err := f.catalogue(cmd)
	if err != nil {
		return err
	}
	defer done()
	i, err := c.Inspect(cmd.Context(), source)
	report := pluginReport{
		Source: source.String(), Version: i.Version, Tag: i.Tag, Digest: i.Digest, SHA256: i.SHA256, Size: i.Size,
		SignedBy: i.SignedBy, Running: running,
	}
	switch {
	case err != nil:
		report.Problems = append(report.Problems, err.Error())
	case i.Problem != nil:
		report.Problems = append(report.Problems, i.Problem.Error())
	}
	if running != "" && i.SHA256 != "" && !strings.EqualFold(running, i.SHA256) {
		report.Problems = append(report.Problems, "what runs is another binary than what its source has now: it changes with the next start")
	}
	if i.Manifest != nil {
		report.Name = i.Manifest.Name
		if report.Manifest, err = json.Marshal(i.Manifest); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	if f.output == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	} else if err := report.print(cmd.OutOrStdout(), i); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errors.New("not verified: " + strings.Join(report.Problems, "; "))
	}
	return nil
}

func (r *pluginReport) print(out io.Writer, i catalogue.Inspection) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, value)
		}
	}
	row("Source", r.Source)
	row("Tag", r.Tag)
	row("Digest", r.Digest)
	row("SHA-256", r.SHA256)
	row("Running SHA-256", r.Running)
	if r.SHA256 != "" {
		row("Signed by", strings.TrimSpace(r.SignedBy+" "+map[bool]string{true: "(nobody who is trusted)"}[r.SignedBy == ""]))
	}
	if m := i.Manifest; m != nil {
		row("Name", m.Name)
		row("Version", m.Version)
		row("Description", m.Description)
		row("Extension points", strings.Join(m.Points, ", "))
		row("Types", strings.Join(m.Types, ", "))
		for _, q := range m.Requires {
			row("Requires", strings.TrimSpace(q.Plugin+" "+q.Version))
		}
		for _, p := range m.Permissions {
			row("Asks for", ruleText(p))
		}
		row("Asks to call", strings.Join(m.Uses, ", "))
		if q := m.Resources.Memory; q != nil {
			row("Memory", q.String())
		}
		if q := m.Resources.CPU; q != nil {
			row("CPU", q.String())
		}
		if q := m.Resources.Processes; q != nil {
			row("Processes", fmt.Sprint(*q))
		}
		row("Network", map[bool]string{true: "yes", false: "no"}[m.Network])
	}
	return w.Flush()
}

// source says what an argument stands for, and for a Plugin of the cluster which binary runs.
func (f *verifyFlags) source(ctx context.Context, arg string) (host.Source, string, error) {
	s := host.Source{Version: f.version, SHA256: f.sha256, AllowUnsigned: f.allowUnsigned}
	switch {
	case isDirectory(arg):
		abs, err := filepath.Abs(arg)
		if err != nil {
			return s, "", fmt.Errorf("directory: %w", err)
		}
		s.Directory = abs
		return s, "", nil
	case strings.ContainsAny(arg, "/:@"):
		s.OCI = arg
		return s, "", nil
	}
	client, err := pluginClient(layout.Dir(f.dataDir))
	if err != nil {
		return s, "", err
	}
	o, err := client.Get(ctx, arg, metav1.GetOptions{})
	if err != nil {
		return s, "", fmt.Errorf("plugin %s: %w", arg, err)
	}
	return pluginSource(arg, o.Object, s)
}

// pluginSource reads where a Plugin comes from; what the command line says comes first.
func pluginSource(name string, object map[string]any, s host.Source) (host.Source, string, error) {
	var p struct {
		Spec struct {
			Path   string `json:"path"`
			Source struct {
				Path      string `json:"path"`
				Directory string `json:"directory"`
				OCI       string `json:"oci"`
			} `json:"source"`
			Version       string `json:"version"`
			SHA256        string `json:"sha256"`
			AllowUnsigned bool   `json:"allowUnsigned"`
		} `json:"spec"`
		Status struct {
			SHA256 string `json:"sha256"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &p); err != nil {
		return s, "", fmt.Errorf("plugin %s: %w", name, err)
	}
	s.Path, s.Directory, s.OCI = p.Spec.Source.Path, p.Spec.Source.Directory, p.Spec.Source.OCI
	if s.Path == "" {
		s.Path = p.Spec.Path
	}
	if s.Path == "" && s.Directory == "" && s.OCI == "" {
		return s, "", fmt.Errorf("plugin %s is a part of pintle itself: who trusts the one trusts the other", name)
	}
	if s.Version == "" {
		s.Version = p.Spec.Version
	}
	if s.SHA256 == "" {
		s.SHA256 = p.Spec.SHA256
	}
	s.AllowUnsigned = s.AllowUnsigned || p.Spec.AllowUnsigned
	return s, p.Status.SHA256, nil
}

// catalogue makes one with a cache of its own, so that what is judged is what the source has.
func (f *verifyFlags) catalogue(cmd *cobra.Command) (*catalogue.Catalogue, func(), error) {
	trust, err := f.trust(cmd)
	if err != nil {
		return nil, nil, err
	}
	keys, err := f.trusted(trust)
	if err != nil {
		return nil, nil, err
	}
	access := f.access()
	if f.credentials == "" && trust.Credentials != "" {
		access.Credentials = trust.Credentials
	}
	access.PlainHTTP = slices.Concat(access.PlainHTTP, trust.InsecureRegistries)
	tmp, err := os.MkdirTemp("", "pintle-verify-")
	if err != nil {
		return nil, nil, fmt.Errorf("cache: %w", err)
	}
	done := func() { _ = os.RemoveAll(tmp) }
	c, err := catalogue.New(catalogue.Config{
		Dir: tmp, Keys: keys, Access: access, Mirror: trust.Mirror, Offline: trust.Offline, Platform: f.platform,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		done()
		return nil, nil, err
	}
	return c, done, nil
}

// trust is what the configuration says, where there is one.
func (f *verifyFlags) trust(cmd *cobra.Command) (config.PluginTrust, error) {
	file := f.config
	if file == "" {
		dir, err := layout.At(f.dataDir)
		if err != nil {
			return config.PluginTrust{}, err
		}
		if _, err := os.Stat(dir.Config()); errors.Is(err, fs.ErrNotExist) {
			return config.PluginTrust{}, nil
		} else if err != nil {
			return config.PluginTrust{}, fmt.Errorf("configuration: %w", err)
		}
		file = dir.Config()
	}
	cfg, err := config.Load(file, cmd.Flags())
	return cfg.PluginTrust, err
}

func (f *verifyFlags) trusted(trust config.PluginTrust) ([]catalogue.Key, error) {
	if len(f.keys) == 0 {
		return pluginsource.Keys(trust)
	}
	var keys []catalogue.Key
	for _, path := range f.keys {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		keys = append(keys, catalogue.Key{Name: path, PEM: pem})
	}
	return keys, nil
}
