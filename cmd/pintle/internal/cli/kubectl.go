package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	_ "github.com/pintle-dev/pintle/cmd/pintle/internal/translations" // before kubectl's packages
)

// newKubectl embeds kubectl. Without --kubeconfig and $KUBECONFIG it is the administrator
// of the cluster in $PINTLE_DATA_DIR, or in the default data directory.
func newKubectl() *cobra.Command {
	// kubectl's tree of commands is made only when it is asked for: it is large, and every
	// process of ours passes here.
	return &cobra.Command{
		Use: "kubectl", Short: "kubectl, against this cluster",
		DisableFlagParsing: true,
		RunE:               func(cmd *cobra.Command, args []string) error { return runKubectl(cmd.Context(), args) },
	}
}

// adoptKubeconfig lets clients be the administrator where nothing says who they are.
func adoptKubeconfig() error {
	if os.Getenv("KUBECONFIG") != "" {
		return nil
	}
	data := os.Getenv(config.EnvPrefix + "_DATA_DIR")
	if data == "" {
		data = defaultDataDir
	}
	return os.Setenv("KUBECONFIG", layout.Dir(data).Kubeconfig())
}

func runKubectl(ctx context.Context, args []string) error {
	if err := adoptKubeconfig(); err != nil {
		return err
	}
	// Much of kubectl (proxy, get --watch) ends by being interrupted and nothing else,
	// and the rest listens for signals itself.
	signal.Reset(syscall.SIGINT, syscall.SIGTERM)
	k := kubectl.NewDefaultKubectlCommandWithArgs(kubectl.KubectlOptions{
		PluginHandler: kubectl.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     append([]string{"kubectl"}, args...),
		ConfigFlags:   genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50),
		IOStreams:     genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
	})
	k.SetArgs(args)
	return k.ExecuteContext(ctx)
}
