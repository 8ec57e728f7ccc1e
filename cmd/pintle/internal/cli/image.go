package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/node"
	"github.com/pintle-dev/pintle/runtime/driver/containerd"
)

func newImage() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Images of this node"}
	cmd.AddCommand(newImageImport(), newImageList())
	return cmd
}

// openDriver opens this node's containerd.
func (o *options) openDriver(cmd *cobra.Command) (*containerd.Driver, error) {
	dir, cfg, err := o.load(cmd)
	if err != nil {
		return nil, err
	}
	if name, ok := cfg.Node.PluginDriver(); ok {
		return nil, fmt.Errorf("node.driver: the images of this node are plugin %s's, and not containerd's", name)
	}
	return node.OpenDriver(cmd.Context(), cfg, dir, newLogger(cfg.Log))
}

func newImageImport() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "import ARCHIVE", Short: "Load images from an OCI or Docker archive (- reads standard input)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in := os.Stdin
			if args[0] != "-" {
				if in, err = os.Open(args[0]); err != nil {
					return fmt.Errorf("archive: %w", err)
				}
				defer func() { err = errors.Join(err, in.Close()) }()
			}
			d, err := o.openDriver(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			images, err := d.ImportImages(cmd.Context(), in)
			if err != nil {
				return fmt.Errorf("importing %s: %w", args[0], err)
			}
			for _, i := range images {
				cmd.Println(strings.Join(i.RepoTags, "\n"))
			}
			return nil
		},
	}
	o.register(cmd)
	return cmd
}

func newImageList() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "list", Short: "List the images of this node", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			d, err := o.openDriver(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			images, err := d.ListImages(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "IMAGE\tID\tSIZE")
			for _, i := range images {
				for _, name := range i.RepoTags {
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, i.ID, resource.NewQuantity(i.SizeBytes, resource.BinarySI))
				}
			}
			return w.Flush()
		},
	}
	o.register(cmd)
	return cmd
}
