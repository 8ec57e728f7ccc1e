package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/target"
)

func newBackupVerify() *cobra.Command {
	var (
		open openFlags
		s3   s3Flags
	)
	cmd := &cobra.Command{
		Use: "verify PLACE", Short: "Read a backup, check everything and show what is in it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := open.load()
			if err != nil {
				return err
			}
			r, in, err := openBackup(cmd.Context(), args[0], s3.o)
			if err != nil {
				return err
			}
			defer in.Close()
			inv, err := backup.Inspect(r, ids...)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return show(cmd, inv)
		},
	}
	open.register(cmd)
	s3.register(cmd)
	return cmd
}

func show(cmd *cobra.Command, inv backup.Inventory) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	h := inv.Header
	fmt.Fprintf(w, "cluster\t%s\n", h.Cluster)
	fmt.Fprintf(w, "created\t%s\n", h.Created.Format(time.RFC3339))
	fmt.Fprintf(w, "revision\t%d\n", h.Revision)
	fmt.Fprintf(w, "server\t%s\n", h.Server)
	fmt.Fprintf(w, "size\t%d bytes, %d before compression\n", inv.Summary.Bytes, inv.Summary.StateBytes)
	fmt.Fprintf(w, "objects\t%d\n", inv.Summary.Objects)
	encryption := "none"
	if h.Encryption != "" {
		encryption = h.Encryption
	}
	fmt.Fprintf(w, "encryption\t%s\n", encryption)
	switch {
	case !h.Keys:
		fmt.Fprintf(w, "keys\tnone\n")
	case inv.Sealed:
		fmt.Fprintf(w, "keys\tyes\n")
	default:
		fmt.Fprintf(w, "keys\t%s\n", strings.Join(inv.Keys, ", "))
	}
	for _, c := range inv.Resources {
		fmt.Fprintf(w, "  %s\t%d objects, %d bytes\n", c.Resource, c.Objects, c.Bytes)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if inv.Sealed {
		cmd.Println("All checksums match. The content was not looked at: --identity or --passphrase-file opens it.")
		return nil
	}
	cmd.Println("Everything matches.")
	return nil
}

func newBackupList() *cobra.Command {
	var (
		o  options
		s3 s3Flags
	)
	cmd := &cobra.Command{
		Use: "list [PLACE]", Short: "List the backups in a place, or where the configuration has them", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			place, err := s3.place(args, o.config, o.dataDir)
			if err != nil {
				return err
			}
			t, err := target.New(place, s3.o)
			if err != nil {
				return err
			}
			return list(cmd, t)
		},
	}
	o.registerDataDir(cmd)
	cmd.Flags().StringVar(&o.config, "config", "", "configuration that says where backups are")
	s3.register(cmd)
	return cmd
}

func list(cmd *cobra.Command, t target.Target) error {
	entries, err := t.List(cmd.Context())
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e target.Entry) bool { return !strings.HasSuffix(e.Name, backup.Suffix) })
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCREATED\tREVISION\tSIZE\tENCRYPTED\tKEYS\tSERVER")
	var errs []error
	for _, e := range entries {
		h, err := headerOf(cmd.Context(), t, e.Name)
		if err != nil {
			fmt.Fprintf(w, "%s\t-\t-\t%d\t-\t-\t-\n", e.Name, e.Size)
			errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%t\t%t\t%s\n", e.Name, h.Created.Format(time.RFC3339), h.Revision, e.Size, h.Encryption != "", h.Keys, h.Server)
	}
	return errors.Join(w.Flush(), errors.Join(errs...))
}

// headerOf reads no more than the beginning of a backup.
func headerOf(ctx context.Context, t target.Target, name string) (backup.Header, error) {
	in, err := t.Open(ctx, name)
	if err != nil {
		return backup.Header{}, err
	}
	defer in.Close()
	r, err := backup.Open(in)
	if err != nil {
		return backup.Header{}, err
	}
	return r.Header(), nil
}
