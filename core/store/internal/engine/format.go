package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// Format is the version of the directory's format that this code writes. It reads all since
// OldestFormat, and makes this one of them.
const (
	Format       = 2
	OldestFormat = 1
)

// formatFile has the version. The first format had no such file.
const formatFile = "FORMAT"

const formatHead = "Pintle store, format "

// ErrFormat says that the directory was written by a newer version.
var ErrFormat = errors.New("unknown format")

// readFormat returns the version of the format in dir, 0 where there is no store yet.
func readFormat(dir string) (int, error) {
	path := filepath.Join(dir, formatFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return formatWithout(dir, path)
	}
	if err != nil {
		return 0, err
	}
	content, err := durable.Unseal(path, b)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	v, err := strconv.Atoi(strings.TrimPrefix(line, formatHead))
	if err != nil || !strings.HasPrefix(line, formatHead) || v < OldestFormat {
		return 0, &durable.Damage{Path: path, Offset: 0, Reason: fmt.Sprintf("it says %q", line)}
	}
	if v > Format {
		return v, fmt.Errorf("%w: %s was written in format %d, and this version reads %d to %d: "+
			"start the newer version that wrote it, or restore a backup into an empty directory", ErrFormat, dir, v, OldestFormat, Format)
	}
	return v, nil
}

// formatWithout tells a new directory from one of the first format, and from one that has lost
// its FORMAT.
func formatWithout(dir, path string) (int, error) {
	_, bare, err := current(dir)
	if err == nil && bare {
		return OldestFormat, nil
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return 0, readErr
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			return 0, errors.Join(&durable.Damage{Path: path, Offset: -1, Reason: "it is missing, and the directory has " + e.Name()}, err)
		}
	}
	return 0, nil
}

// EnsureFormat makes sure of the version of a directory whose state was taken out of it.
func EnsureFormat(dir string) error { return writeFormat(dir) }

func writeFormat(dir string) error {
	return durable.WriteSealed(filepath.Join(dir, formatFile), fmt.Appendf(nil, "%s%d\n", formatHead, Format))
}

// IsFormat1 says that dir has a store of the first format.
func IsFormat1(dir string) bool {
	v, err := readFormat(dir)
	return err == nil && v == OldestFormat
}

// Migrate makes the directory one of the newest format, once everything else in it can be read
// as such.
func (e *Engine) Migrate() error {
	if e.format == Format && !e.bare {
		return nil
	}
	// In this order: what has a FORMAT may still have a bare name in CURRENT.
	if err := writeFormat(e.dir); err != nil {
		return err
	}
	if err := setCurrent(e.dir, e.name); err != nil {
		return err
	}
	e.format, e.bare = Format, false
	return nil
}
