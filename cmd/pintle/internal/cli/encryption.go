package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/encryption"
)

func newEncryption() *cobra.Command {
	cmd := &cobra.Command{
		Use: "encryption", Short: "Encryption at rest: its state, its keys",
		Long: "Encryption at rest is configured by store.encryption: which types, and the keys' file or the key-management plugin.",
	}
	cmd.AddCommand(newEncryptionStatus(), newEncryptionRotate(), newEncryptionKey())
	return cmd
}

func newEncryptionStatus() *cobra.Command {
	var o options
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show how many objects are encrypted with which key, and which are not yet; exit 1 where something is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showEncryption(cmd, o, output, encryptionStatus)
		},
	}
	o.registerDataDir(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or a table")
	return cmd
}

func newEncryptionRotate() *cobra.Command {
	var o options
	var output string
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make a new data key and encrypt everything again with it, while the cluster runs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showEncryption(cmd, o, output, rotateEncryption)
		},
	}
	o.registerDataDir(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or a table")
	return cmd
}

func newEncryptionKey() *cobra.Command {
	var (
		name, use string
		behind    bool
	)
	cmd := &cobra.Command{
		Use: "key FILE", Short: "Make a key at the head of a file of keys, and the file where there is none", Args: cobra.ExactArgs(1),
		Long: `Makes a random key and puts it at the head of a file of keys (store.encryption.keys.file). A server that uses the file
takes it at once: it wraps its data keys with the new one, makes another data key, and encrypts everything again.

With several servers every one needs the key before one of them uses it: make it with --behind, bring the file to all
servers, and then move the key to the head of each file with --use.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, where := args[0], "the first"
			if use != "" {
				if err := encryption.UseKey(file, use); err != nil {
					return err
				}
				name = use
			} else if err := encryption.AddKey(file, name, behind); err != nil {
				return err
			}
			if behind {
				where = "the last"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key %s is %s of %s; keep a copy of that file where no backup of the cluster is\n", name, where, file)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", time.Now().UTC().Format("key-20060102-150405"), "name of the key")
	cmd.Flags().BoolVar(&behind, "behind", false, "put it at the end of the file, where it only decrypts")
	cmd.Flags().StringVar(&use, "use", "", "make none, but move the key of this name to the head")
	cmd.MarkFlagsMutuallyExclusive("use", "name")
	cmd.MarkFlagsMutuallyExclusive("use", "behind")
	return cmd
}

func encryptionStatus(ctx context.Context, client kubernetes.Interface) ([]byte, error) {
	return client.Discovery().RESTClient().Get().AbsPath(encryption.Path).Do(ctx).Raw()
}

func rotateEncryption(ctx context.Context, client kubernetes.Interface) ([]byte, error) {
	return client.Discovery().RESTClient().Post().AbsPath(encryption.Path).Do(ctx).Raw()
}

func showEncryption(cmd *cobra.Command, o options, output string, ask func(context.Context, kubernetes.Interface) ([]byte, error)) error {
	if output != "" && output != "json" {
		return fmt.Errorf("--output: %q is not json", output)
	}
	dir, err := layout.At(o.dataDir)
	if err != nil {
		return err
	}
	client, err := kubeClient(dir)
	if err != nil {
		return err
	}
	raw, err := ask(cmd.Context(), client)
	if err != nil {
		// client-go makes no message of what answers a request of no type that it knows.
		var said metav1.Status
		if json.Unmarshal(raw, &said) == nil && said.Message != "" {
			return errors.New(said.Message)
		}
		return err
	}
	if output == "json" {
		_, err := cmd.OutOrStdout().Write(raw)
		return err
	}
	var st encryption.Status
	if err := json.Unmarshal(raw, &st); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	return printEncryption(cmd.OutOrStdout(), &st)
}

func printEncryption(out io.Writer, st *encryption.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "wrapped by\t%s, key %s\n", st.WrappedBy, st.KeyID)
	fmt.Fprintf(w, "to be written again\t%d objects\n\n", st.Pending)
	fmt.Fprintln(w, "RESOURCE\tENCRYPTED\tPLAIN\tWANTED")
	for _, r := range st.Resources {
		wanted := "encrypted"
		if !r.Wanted {
			wanted = "plain"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", r.Name, r.Encrypted, r.Plain, wanted)
	}
	fmt.Fprintln(w, "\nDATA KEY\tOBJECTS\tCREATED\tWRAPPED BY\tSTATE")
	var errs []error
	if st.Problem != "" {
		errs = append(errs, errors.New(st.Problem))
	}
	for _, d := range st.DataKeys {
		state := "for reading"
		switch {
		case d.Problem != "":
			state = d.Problem
			errs = append(errs, fmt.Errorf("data key %d: %s", d.ID, d.Problem))
		case d.Current:
			state = "encrypts"
		}
		created := "-"
		if !d.Created.IsZero() {
			created = d.Created.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", d.ID, d.Objects, created, d.WrappedBy+" "+d.KeyID, state)
	}
	return errors.Join(append(errs, w.Flush())...)
}
