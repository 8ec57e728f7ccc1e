package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
)

func loadText(t *testing.T, text string) (config.Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil)
	return c, dir, err
}

func TestBackup(t *testing.T) {
	t.Setenv("PINTLE_BACKUP_S3_REGION", "eu-1")
	c, dir, err := loadText(t, `
backup:
  to: backups
  every: 6h
  keep: {last: 3, daily: 7}
  encryption: {recipients: [age1xyz], recipientsFile: /etc/recipients}
  s3: {credentialsFile: credentials}
`)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Backup
	if b.To != filepath.Join(dir, "backups") || time.Duration(b.Every) != 6*time.Hour || b.Keep != (config.BackupKeep{Last: 3, Daily: 7}) ||
		b.Encryption.Recipients[0] != "age1xyz" || b.Encryption.RecipientsFile != "/etc/recipients" ||
		b.S3.CredentialsFile != filepath.Join(dir, "credentials") || b.S3.Region != "eu-1" || !b.WithKeys() {
		t.Errorf("%+v", b)
	}
	// What up keeps is read again.
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := loadText(t, string(raw))
	if err != nil || again.Backup.Keep != b.Keep || again.Backup.To != b.To {
		t.Errorf("%+v %v", again.Backup, err)
	}
	c, _, err = loadText(t, "backup: {to: s3://bucket/x, schedule: '@daily', keep: 7}")
	if err != nil || c.Backup.Keep != (config.BackupKeep{Last: 7}) || c.Backup.To != "s3://bucket/x" || c.Backup.WithKeys() {
		t.Errorf("%+v %v", c.Backup, err)
	}
	for text, want := range map[string]string{
		"{every: 6h}":                            "backup.to: is required",
		"{to: x}":                                "one of schedule and every",
		"{to: x, every: 1h, schedule: '@daily'}": "only one of",
		"{to: 'ftp://x', every: 1h}":             "neither a directory nor s3",
		"{to: x, every: 1h, keys: maybe}":        "none of sealed, always, never",
		"{to: x, every: 1h, keep: -1}":           "backup.keep.last: -1 is negative",
		"{to: x, every: 1h, keep: few}":          "no number of backups",
		"{to: x, every: 1h, keep: {dayly: 1}}":   "dayly",
		"{to: x, evry: 1h}":                      "evry",
	} {
		if _, _, err := loadText(t, "backup: "+text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one that says %q", text, err, want)
		}
	}
}
