package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// newPause keeps a shared process namespace of a pod alive. As its first process it gets
// the orphans of the others, which the Go runtime's ignored SIGCHLD would leave as zombies.
func newPause() *cobra.Command {
	return &cobra.Command{
		Use: "pause", Short: "Hold a pod's process namespace (started by the agent)", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return pause(cmd.Context()) },
	}
}

// pause waits for the end and reaps children that are handed to it.
func pause(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	for {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-children:
		}
	}
}
