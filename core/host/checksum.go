package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
)

// refusedError marks a failure that trying again will not heal.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }
func (e *refusedError) Refused() bool { return true }

func refuse(format string, args ...any) error {
	return &refusedError{fmt.Errorf(format, args...)}
}

// isRefused also knows refusals of others, such as a Fetcher's: by a method of that name.
func isRefused(err error) bool {
	var r interface{ Refused() bool }
	return errors.As(err, &r) && r.Refused()
}

// verify compares the binary's checksum with the entry's, and names both where they
// differ. go-plugin does the comparison; it is given no command of its own to check, as
// the host forks itself.
func verify(path, want string) error {
	if want == "" {
		return nil
	}
	sum, err := hex.DecodeString(want)
	if err != nil {
		return refuse("sha256 %q is not hexadecimal: %w", want, err)
	}
	hash := sha256.New()
	secure := &goplugin.SecureConfig{Checksum: sum, Hash: hash}
	ok, err := secure.Check(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refuse("there is no binary at %s", path)
	case err != nil:
		return fmt.Errorf("checksum of %s: %w", path, err)
	case !ok:
		return refuse("wrong checksum of %s: expected sha256 %s, actual %s; the binary was not run",
			path, strings.ToLower(want), hex.EncodeToString(hash.Sum(nil)))
	}
	return nil
}
