// Package durable writes small files that are there whole or not at all, and knows whether
// they still say what was written. It also has the error that damaged files are reported by.
//
// It must not know what the files are for.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const fileMode = 0o600

// Damage says that a file does not have what was written to it.
type Damage struct {
	// Path of the file.
	Path string
	// Offset in bytes of what is damaged, negative where it is not known.
	Offset int64
	// Reason says what was found.
	Reason string
	// Err is the error beneath, where there is one.
	Err error
}

// Error implements error.
func (d *Damage) Error() string {
	at := ""
	if d.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", d.Offset)
	}
	if d.Err == nil {
		return fmt.Sprintf("%s is damaged%s: %s", d.Path, at, d.Reason)
	}
	return fmt.Sprintf("%s is damaged%s: %s: %v", d.Path, at, d.Reason, d.Err)
}

// Unwrap gives errors.Is and errors.As what is beneath.
func (d *Damage) Unwrap() error { return d.Err }

// IsDamage says whether err is about a damaged file.
func IsDamage(err error) bool {
	var d *Damage
	return errors.As(err, &d)
}

// Castagnoli is the polynomial of all of the store's checksums: processors know it.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealFormat is the last line of a sealed file: the checksum of everything before it.
const sealFormat = "crc32c %08x\n"

var sealLen = len(fmt.Sprintf(sealFormat, 0))

// Seal appends the checksum of content to it.
func Seal(content []byte) []byte {
	return fmt.Appendf(content[:len(content):len(content)], sealFormat, crc32.Checksum(content, Castagnoli))
}

// Sealed says whether b ends like something sealed, be it damaged or not.
func Sealed(b []byte) bool {
	n := len(b) - sealLen
	return n >= 0 && bytes.HasPrefix(b[n:], []byte("crc32c "))
}

// Unseal returns the content of b, which was read from path.
func Unseal(path string, b []byte) ([]byte, error) {
	n := len(b) - sealLen
	if n < 0 || !Sealed(b) {
		return nil, &Damage{Path: path, Offset: -1, Reason: "its last line should be a checksum"}
	}
	if want := fmt.Sprintf(sealFormat, crc32.Checksum(b[:n], Castagnoli)); string(b[n:]) != want {
		return nil, &Damage{Path: path, Offset: -1, Reason: fmt.Sprintf("its checksum is %q and should be %q", b[n:], want)}
	}
	return b[:n:n], nil
}

// WriteFile replaces a file durably: after a crash it has the old or the new content.
func WriteFile(path string, content []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncPath(filepath.Dir(path))
}

// WriteSealed is WriteFile with a checksum at the end.
func WriteSealed(path string, content []byte) error { return WriteFile(path, Seal(content)) }

// SyncPath makes a file, or the names in a directory, durable.
func SyncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
