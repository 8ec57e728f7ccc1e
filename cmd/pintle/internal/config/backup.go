package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// Backup makes backups by themselves; without a place there are none.
type Backup struct {
	// To is a directory, which is the leader's own where the servers do not share it, or
	// s3://BUCKET/PREFIX.
	To string `json:"to"`
	// Schedule is when, in five fields of cron such as "0 3 * * *"; Every is how often, such as
	// "6h". One of them is set.
	Schedule string   `json:"schedule"`
	Every    Duration `json:"every"`
	// Keep says which backups stay; a number keeps so many of the newest. Nothing keeps all.
	Keep BackupKeep `json:"keep"`
	// Keys says whether the cluster's keys (its authorities and the key that signs tokens) are
	// in the backups: "sealed" (the default) where they are encrypted, "always" or "never".
	Keys       string           `json:"keys"`
	Encryption BackupEncryption `json:"encryption"`
	S3         BackupS3         `json:"s3"`
}

// BackupKeep counts backups that stay: the newest ones, and the newest one of each of so many
// hours, days, weeks, months and years.
type BackupKeep struct {
	Last    int `json:"last"`
	Hourly  int `json:"hourly"`
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
	Yearly  int `json:"yearly"`
}

// UnmarshalText takes a number.
func (k *BackupKeep) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("%q is no number of backups", text)
	}
	*k = BackupKeep{Last: n}
	return nil
}

// UnmarshalJSON takes a number or the counts.
func (k *BackupKeep) UnmarshalJSON(raw []byte) error {
	if len(raw) == 0 || raw[0] != '{' {
		return k.UnmarshalText(raw)
	}
	type counts BackupKeep
	strict, err := kjson.UnmarshalStrict(raw, (*counts)(k))
	return errors.Join(append(strict, err)...)
}

// BackupEncryption says for whom backups are encrypted, with age.
type BackupEncryption struct {
	// Recipients are public keys ("age1…"), and RecipientsFile has some, one on a line. Who has
	// one of the private keys can restore; the server can't.
	Recipients     []string `json:"recipients"`
	RecipientsFile string   `json:"recipientsFile"`
	// PassphraseFile has a passphrase instead.
	PassphraseFile string `json:"passphraseFile"`
}

// BackupS3 says which server has the bucket; what is not said comes from the environment, by
// the names that AWS's tools use.
type BackupS3 struct {
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	// CredentialsFile is one as AWS's tools have it, Profile a part of it.
	CredentialsFile string `json:"credentialsFile"`
	Profile         string `json:"profile"`
	// CAFile has further authorities for the server's certificate.
	CAFile string `json:"caFile"`
}

// WithKeys says whether backups have the cluster's keys.
func (b Backup) WithKeys() bool {
	e := b.Encryption
	sealed := len(e.Recipients) > 0 || e.RecipientsFile != "" || e.PassphraseFile != ""
	return b.Keys == "always" || b.Keys != "never" && sealed
}

// resolve makes paths absolute that are relative to the configuration file.
func (b *Backup) resolve(base string) error {
	paths := []*string{&b.Encryption.RecipientsFile, &b.Encryption.PassphraseFile, &b.S3.CredentialsFile, &b.S3.CAFile}
	if !strings.Contains(b.To, "://") {
		paths = append(paths, &b.To)
	}
	for _, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(base, *p))
		if err != nil {
			return fmt.Errorf("backup: %s: %w", *p, err)
		}
		*p = abs
	}
	return nil
}

func (b Backup) validate() error {
	if b.To == "" {
		if b.Schedule != "" || b.Every != 0 {
			return errors.New("backup.to: is required where backups are scheduled")
		}
		return nil
	}
	if scheme, _, ok := strings.Cut(b.To, "://"); ok && scheme != "s3" {
		return fmt.Errorf("backup.to: %q is neither a directory nor s3://BUCKET/PREFIX", b.To)
	}
	switch {
	case b.Schedule == "" && b.Every == 0:
		return errors.New("backup: one of schedule and every is required")
	case b.Schedule != "" && b.Every != 0:
		return errors.New("backup: only one of schedule and every can be set")
	}
	switch b.Keys {
	case "", "sealed", "always", "never":
	default:
		return fmt.Errorf("backup.keys: %q is none of sealed, always, never", b.Keys)
	}
	k := b.Keep
	for name, n := range map[string]int{"last": k.Last, "hourly": k.Hourly, "daily": k.Daily, "weekly": k.Weekly, "monthly": k.Monthly, "yearly": k.Yearly} {
		if n < 0 {
			return fmt.Errorf("backup.keep.%s: %d is negative", name, n)
		}
	}
	return nil
}
