package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/controlplane"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/target"
)

func newBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", Short: "Make, check and restore backups of a cluster",
		Long: "Make, check and restore backups of a cluster.\n\n" +
			"A PLACE is a directory, or s3://BUCKET/PREFIX; a place that ends in " + backup.Suffix + " is one backup in it.\n" +
			"For S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and AWS's files of\n" +
			"credentials are understood.",
	}
	cmd.AddCommand(newBackupCreate(), newBackupVerify(), newBackupList(), newBackupRestore(), newBackupKeygen())
	return cmd
}

// s3Flags say which server has the buckets.
type s3Flags struct{ o target.S3Options }

func (s *s3Flags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.o.Endpoint, "s3-endpoint", "", "URL of the server of s3:// places, AWS's where nothing is said (AWS_ENDPOINT_URL)")
	f.StringVar(&s.o.Region, "s3-region", "", "region of the bucket (AWS_REGION)")
	f.StringVar(&s.o.CredentialsFile, "s3-credentials", "", "file of credentials (AWS_SHARED_CREDENTIALS_FILE)")
	f.StringVar(&s.o.Profile, "s3-profile", "", "profile in the file of credentials (AWS_PROFILE)")
	f.StringVar(&s.o.CAFile, "s3-ca", "", "file with further authorities for the server's certificate")
}

// openFlags say what opens encrypted backups.
type openFlags struct{ identity, passphrase string }

func (o *openFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.identity, "identity", "", "file with the private key of age that opens an encrypted backup")
	f.StringVar(&o.passphrase, "passphrase-file", "", "file with the passphrase of an encrypted backup")
}

func (o *openFlags) load() ([]age.Identity, error) {
	return backup.Identities(o.identity, o.passphrase)
}

// openBackup opens the one backup that a place names.
func openBackup(ctx context.Context, place string, s3 target.S3Options) (*backup.Reader, io.Closer, error) {
	in, err := openFile(ctx, place, s3)
	if err != nil {
		return nil, nil, err
	}
	r, err := backup.Open(in)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", place, err), in.Close())
	}
	return r, in, nil
}

func openFile(ctx context.Context, place string, s3 target.S3Options) (io.ReadCloser, error) {
	if !strings.HasPrefix(place, target.S3Scheme) {
		f, err := os.Open(place)
		if err != nil {
			return nil, err
		}
		if fi, err := f.Stat(); err != nil || fi.IsDir() {
			return nil, errors.Join(fmt.Errorf("%s is a directory: name a backup in it (`pintle backup list %s` shows them)", place, place), err, f.Close())
		}
		return f, nil
	}
	at, name := target.Split(place, backup.Suffix)
	if name == "" {
		return nil, fmt.Errorf("%s names no backup, which ends in %s (`pintle backup list %s` shows them)", place, backup.Suffix, place)
	}
	t, err := target.New(at, s3)
	if err != nil {
		return nil, err
	}
	return t.Open(ctx, name)
}

// configuredBackup is the backup section of the configuration in file, or of the one that the
// cluster in dataDir was last started with.
func configuredBackup(file, dataDir string) (config.Backup, error) {
	if file == "" {
		dir, err := layout.At(dataDir)
		if err != nil {
			return config.Backup{}, err
		}
		file = dir.Config()
		if _, err := os.Stat(file); err != nil {
			return config.Backup{}, errors.New("name a place, or the --config that says where backups go")
		}
	}
	cfg, err := config.Load(file, nil)
	if err != nil {
		return config.Backup{}, err
	}
	if cfg.Backup.To == "" {
		return config.Backup{}, fmt.Errorf("%s has no backup.to: name a place", file)
	}
	return cfg.Backup, nil
}

// place is the place named by args or else the configured one.
func (s *s3Flags) place(args []string, file, dataDir string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	b, err := configuredBackup(file, dataDir)
	if err != nil {
		return "", err
	}
	s.o = controlplane.S3Options(b.S3)
	return b.To, nil
}
