package cli

import (
	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/runtime/driver/containerd/pause"
)

// newPause is the first process of a pod's shared process namespace.
func newPause() *cobra.Command {
	return &cobra.Command{
		Use: "pause", Short: "Hold a pod's process namespace (started by the agent)", Args: cobra.NoArgs, Hidden: true,
		Run: func(*cobra.Command, []string) { pause.Main() },
	}
}
