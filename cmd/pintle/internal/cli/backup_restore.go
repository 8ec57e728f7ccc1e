package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/process"
	"github.com/pintle-dev/pintle/core/backup"
)

// restoreMemory is the heap from which on garbage is collected more eagerly.
const restoreMemory = 96 << 20

func newBackupRestore() *cobra.Command {
	var (
		o     options
		open  openFlags
		s3    s3Flags
		raise uint64
		keys  bool
	)
	cmd := &cobra.Command{
		Use: "restore PLACE --data-dir DIR", Short: "Make a data directory of a backup, for the first server of a new cluster", Args: cobra.ExactArgs(1),
		Long: "Make a data directory of a backup, for the first server of a new cluster; others join it then.\n\n" +
			"The directory must be empty or missing, and nothing needs to run. Objects are as they were. The\n" +
			"cluster's revision is raised beyond all that the old cluster can have reached, so that no client takes\n" +
			"something old for something new: every watch from before ends with 410 Gone and its client lists anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("data-dir") {
				return fmt.Errorf("--data-dir: name the directory to restore into")
			}
			dir, err := layout.At(o.dataDir)
			if err != nil {
				return err
			}
			process.BoundMemory(100, restoreMemory)
			ids, err := open.load()
			if err != nil {
				return err
			}
			r, in, err := openBackup(cmd.Context(), args[0], s3.o)
			if err != nil {
				return err
			}
			defer in.Close()
			h := r.Header()
			if !cmd.Flags().Changed("raise-revision") {
				raise = backup.Raise(h.Created, time.Now())
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			restored, err := backup.Restore(cmd.Context(), r, backup.Into{
				Dir: string(dir), Store: dir.Store(), Keys: dir.PKI(), Marker: dir.Restoring(), Raise: raise, WithoutKeys: !keys, Logger: log,
			}, ids...)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			cmd.Printf("Restored %d objects of revision %d, made %s, into %s.\n", restored.Summary.Objects, h.Revision, h.Created.Format(time.RFC3339), dir)
			cmd.Printf("The new cluster begins at revision %d.\n", restored.Begins)
			if len(restored.Keys) > 0 {
				cmd.Printf("The cluster's keys are those of before (%s): kubeconfigs, tokens of service accounts and nodes stay valid.\n", strings.Join(restored.Keys, ", "))
			} else {
				cmd.Println("The cluster's keys are not restored. The first start makes new ones: kubeconfigs, certificates of nodes and all tokens of\n" +
					"service accounts of before are not valid any more; nodes must join anew, and pods be restarted.")
			}
			cmd.Printf("Start it: pintle server --data-dir %s\n", dir)
			return nil
		},
	}
	o.registerDataDir(cmd)
	open.register(cmd)
	s3.register(cmd)
	f := cmd.Flags()
	f.Uint64Var(&raise, "raise-revision", 0, fmt.Sprintf("by how much the revision is raised (default %d and %d for each second since the backup was made)", backup.RaiseAtLeast, backup.RaisePerSecond))
	f.BoolVar(&keys, "keys", true, "restore the cluster's keys, where the backup has them")
	return cmd
}
