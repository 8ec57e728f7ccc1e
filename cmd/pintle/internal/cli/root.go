package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
)

const (
	defaultDataDir = "/var/lib/pintle"
	defaultProfile = "dev"
)

// Main runs the command and returns its exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := newRoot().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pintle:", err)
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "pintle",
		Short:         "A control plane for containers that speaks the Kubernetes API",
		Version:       release.Version + " (Kubernetes " + release.Kubernetes + ")",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(os.Stdout) // cobra's Print functions would go to standard error
	root.AddCommand(
		newUp(), newDown(), newStatus(), newServer(), newAgent(), newBackup(),
		newPlugin(), newImage(), newEncryption(), newKubectl(), newPause(),
		newApply(), newHistory(), newUndelete(),
	)
	return root
}

// options are the flags that most commands share.
type options struct {
	config  string
	dataDir string
}

func (o *options) register(cmd *cobra.Command) {
	o.registerDataDir(cmd)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "configuration: a file, or an embedded profile ("+defaultProfile+" where the data directory has none yet)")
	f.String("api.listen", "", "address:port of the API server")
	f.String("node.name", "", "name of this node")
	f.String("log.level", "", "debug, info, warn or error")
}

func (o *options) registerDataDir(cmd *cobra.Command) {
	dir := defaultDataDir
	if v, ok := os.LookupEnv(config.EnvPrefix + "_DATA_DIR"); ok {
		dir = v
	}
	cmd.Flags().StringVar(&o.dataDir, "data-dir", dir, "directory of everything that this cluster keeps (PINTLE_DATA_DIR)")
}

// load reads the configuration and makes the data directory ready. The configuration is
// the one named, else the one that the cluster was last started with, else the default
// profile.
func (o *options) load(cmd *cobra.Command) (layout.Dir, config.Config, error) {
	dir, err := layout.At(o.dataDir)
	if err != nil {
		return "", config.Config{}, err
	}
	file := o.config
	if file == "" {
		file = defaultProfile
		if _, err := os.Stat(dir.Config()); err == nil {
			file = dir.Config()
		}
	}
	cfg, err := config.Load(file, cmd.Flags())
	if err != nil {
		return "", config.Config{}, err
	}
	// Only now: a configuration that is refused leaves nothing on the disk.
	return dir, cfg, dir.Make()
}

func newLogger(l config.Log) *slog.Logger {
	var level slog.Level
	// Validate has accepted the level.
	_ = level.UnmarshalText([]byte(l.Level))
	opts := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}
