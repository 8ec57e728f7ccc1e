package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/target"
)

// silence of a server that streams a backup, after which it is given up.
const silence = 2 * time.Minute

type createFlags struct {
	options
	kubeconfig, output string
	keys               bool
	encryption         backup.Encryption
	s3                 s3Flags
}

func newBackupCreate() *cobra.Command {
	var o createFlags
	cmd := &cobra.Command{
		Use: "create", Short: "Write a backup of a running cluster, as it is at one revision", Args: cobra.NoArgs,
		Example: "  pintle backup create -o /backups\n" +
			"  pintle backup create -o s3://bucket/cluster --recipient age1… --s3-endpoint https://s3.example.com",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Encrypted backups have the keys unless it is said that they have not.
			if !cmd.Flags().Changed("keys") {
				o.keys = o.encryption.Wanted()
			}
			return o.create(cmd)
		},
	}
	f := cmd.Flags()
	o.registerDataDir(cmd)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "of an administrator, where it is not the data directory's")
	f.StringVarP(&o.output, "output", "o", ".", "place of the backup; in a directory or prefix it gets a name of its own")
	f.BoolVar(&o.keys, "keys", false, "write the cluster's keys, too: whoever has them can be anybody (default: only where the backup is encrypted)")
	f.StringSliceVar(&o.encryption.Recipients, "recipient", nil, "public key of age that the backup is encrypted for")
	f.StringVar(&o.encryption.RecipientsFile, "recipients-file", "", "file with public keys of age")
	f.StringVar(&o.encryption.PassphraseFile, "passphrase-file", "", "file with a passphrase that the backup is encrypted with")
	o.s3.register(cmd)
	return cmd
}

func (o *createFlags) create(cmd *cobra.Command) error {
	to, err := o.encryption.Load()
	if err != nil {
		return err
	}
	at, name := target.Split(o.output, backup.Suffix)
	place, err := target.New(at, o.s3.o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	in, err := o.request(ctx, cancel)
	if err != nil {
		return err
	}
	defer in.Close()
	var begin received
	r, err := backup.Open(io.TeeReader(in, &begin))
	if err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	h := r.Header()
	if name == "" {
		name = backup.Name(h)
	}
	upload, err := place.Create(ctx, name)
	if err != nil {
		return err
	}
	defer upload.Abort()
	sum, err := begin.transfer(ctx, r, upload, to)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	if err := upload.Commit(); err != nil {
		return err
	}
	full := filepath.Join(at, name)
	if strings.HasPrefix(at, target.S3Scheme) {
		full = strings.TrimSuffix(at, "/") + "/" + name
	}
	cmd.Printf("%s\nrevision %d, %d objects, %d bytes%s\n", full, h.Revision, sum.Objects, sum.Bytes, described(h, len(to) > 0))
	if !h.Keys {
		cmd.PrintErrln("The cluster's keys are not in it: a cluster restored from it makes new ones, and all clients and nodes need new credentials. Encrypted backups have them, others with --keys.")
	}
	return nil
}

func described(h backup.Header, encrypted bool) string {
	s := ""
	if encrypted {
		s += ", encrypted"
	}
	if h.Keys {
		s += ", with the cluster's keys"
	}
	return s
}

// request asks the server for a backup. The context is cancelled when nothing comes any more.
func (o *createFlags) request(ctx context.Context, cancel context.CancelCauseFunc) (io.ReadCloser, error) {
	var c *rest.Config
	var err error
	if o.kubeconfig != "" {
		if c, err = clientcmd.BuildConfigFromFlags("", o.kubeconfig); err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", o.kubeconfig, err)
		}
	} else {
		dir, err := layout.At(o.dataDir)
		if err != nil {
			return nil, err
		}
		if c, err = clientConfig(dir); err != nil {
			return nil, err
		}
	}
	c.Timeout = 0
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the server has sent nothing for %v", silence)) })
	query := url.Values{backup.KeysQuery: {strconv.FormatBool(o.keys)}}
	in, err := client.RESTClient().Post().RequestURI(backup.Path + "?" + query.Encode()).Stream(ctx)
	if err != nil {
		late.Stop()
		return nil, fmt.Errorf("asking for a backup: %w", err)
	}
	return &noisy{in, late}, nil
}

// noisy puts off a timer as long as something comes.
type noisy struct {
	io.ReadCloser
	late *time.Timer
}

func (n *noisy) Read(p []byte) (int, error) {
	k, err := n.ReadCloser.Read(p)
	if k > 0 {
		n.late.Reset(silence)
	}
	return k, err
}

func (n *noisy) Close() error {
	n.late.Stop()
	return n.ReadCloser.Close()
}

// received keeps what was read before there was a place for it; from then on everything goes there.
type received struct {
	b  []byte
	to io.Writer
}

func (s *received) Write(p []byte) (int, error) {
	if s.to != nil {
		return s.to.Write(p)
	}
	s.b = append(s.b, p...)
	return len(p), nil
}

// transfer writes what the server sends, as it is or encrypted. Every checksum is looked at on
// the way.
func (s *received) transfer(ctx context.Context, r *backup.Reader, w io.Writer, to []age.Recipient) (backup.Summary, error) {
	if len(to) == 0 {
		if _, err := w.Write(s.b); err != nil {
			return backup.Summary{}, err
		}
		s.b, s.to = nil, w
		return r.Finish()
	}
	s.b, s.to = nil, io.Discard
	keys, state, err := r.Content()
	if err != nil {
		return backup.Summary{}, err
	}
	_, sum, err := backup.Write(ctx, w, backup.Content{
		Header: r.Header(), Keys: keys, Recipients: to,
		State: func(_ context.Context, w io.Writer) (uint64, error) {
			_, err := io.Copy(w, state)
			// Why the state ended is told by the end.
			sum, finishErr := r.Finish()
			if finishErr != nil {
				return 0, finishErr
			}
			return sum.Objects, err
		},
	})
	return sum, err
}

func newBackupKeygen() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "keygen", Short: "Make a key of age that opens what is encrypted for it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" {
				return errors.New("--output: name the file of the private key")
			}
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return err
			}
			f, err := os.OpenFile(output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(f, "# created: %s\n# public key: %s\n%s\n", time.Now().Format(time.RFC3339), id.Recipient(), id)
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				return err
			}
			cmd.Println(id.Recipient())
			cmd.PrintErrf("%s opens backups made with --recipient and the key above. Keep it where the cluster's end does not reach it.\n", output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file of the private key")
	return cmd
}
