package backup

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
)

// Encryption says for whom a backup is sealed: for all recipients, or for who knows a
// passphrase, not both. The zero value seals nothing.
type Encryption struct {
	// Recipients are public keys of age ("age1…").
	Recipients []string
	// RecipientsFile has public keys of age, one on a line.
	RecipientsFile string
	// PassphraseFile has a passphrase. Recipients are better: what only writes backups need
	// not be able to read them.
	PassphraseFile string
}

// Wanted says whether anything is to be sealed.
func (e Encryption) Wanted() bool {
	return len(e.Recipients) > 0 || e.RecipientsFile != "" || e.PassphraseFile != ""
}

// workFactor is the logarithm of scrypt's cost: 64 MiB of memory for a moment, which a server
// bears.
const workFactor = 16

// Load reads the files.
func (e Encryption) Load() ([]age.Recipient, error) {
	if e.PassphraseFile != "" {
		if len(e.Recipients) > 0 || e.RecipientsFile != "" {
			return nil, errors.New("encryption: give recipients or a passphrase, not both")
		}
		phrase, err := passphrase(e.PassphraseFile)
		if err != nil {
			return nil, err
		}
		r, err := age.NewScryptRecipient(phrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase of %s: %w", e.PassphraseFile, err)
		}
		r.SetWorkFactor(workFactor)
		return []age.Recipient{r}, nil
	}
	var out []age.Recipient
	for i, text := range e.Recipients {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("encryption: recipients[%d]: %w", i, err)
		}
		out = append(out, r...)
	}
	if e.RecipientsFile != "" {
		f, err := os.Open(e.RecipientsFile)
		if err != nil {
			return nil, fmt.Errorf("encryption: recipients: %w", err)
		}
		defer f.Close()
		r, err := age.ParseRecipients(f)
		if err != nil {
			return nil, fmt.Errorf("encryption: recipients of %s: %w", e.RecipientsFile, err)
		}
		out = append(out, r...)
	}
	return out, nil
}

// Identities read what opens a sealed backup: a file of age's identities, or a file with a
// passphrase; both may be "".
func Identities(identityFile, passphraseFile string) ([]age.Identity, error) {
	var out []age.Identity
	if identityFile != "" {
		f, err := os.Open(identityFile)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		defer f.Close()
		if out, err = age.ParseIdentities(f); err != nil {
			return nil, fmt.Errorf("identity of %s: %w", identityFile, err)
		}
	}
	if passphraseFile != "" {
		phrase, err := passphrase(passphraseFile)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(phrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase of %s: %w", passphraseFile, err)
		}
		out = append(out, id)
	}
	return out, nil
}

// passphrase is a file's first line; secrets in files usually end with a newline.
func passphrase(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("passphrase: %s is empty", file)
	}
	return line, nil
}
