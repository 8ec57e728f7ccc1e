package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Directory is a directory as a target. It is made where it is missing.
type Directory string

var _ Target = Directory("")

// partSuffix ends the names of files that are being written; they begin with a dot.
const partSuffix = ".part"

// Create implements Target.
func (d Directory) Create(_ context.Context, name string) (Upload, error) {
	final := filepath.Join(string(d), name)
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s: %w", final, fs.ErrExist), ignore(err))
	}
	f, err := os.CreateTemp(string(d), "."+name+".*"+partSuffix)
	if err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	return &fileUpload{f: f, final: final}, nil
}

// ignore leaves out what Lstat says of files that exist.
func ignore(err error) error {
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// fileUpload is a file beside the one it becomes.
type fileUpload struct {
	f     *os.File
	final string
	done  bool
}

func (u *fileUpload) Write(p []byte) (int, error) { return u.f.Write(p) }

// Commit makes the file durable before its name and the name before it returns.
func (u *fileUpload) Commit() error {
	if u.done {
		return nil
	}
	if err := u.f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", u.final, err)
	}
	if err := u.f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", u.final, err)
	}
	if err := os.Rename(u.f.Name(), u.final); err != nil {
		return err
	}
	u.done = true
	dir, err := os.Open(filepath.Dir(u.final))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", u.final, err)
	}
	return nil
}

// Abort removes what was written.
func (u *fileUpload) Abort() {
	if u.done {
		return
	}
	u.done = true
	_ = u.f.Close()
	_ = os.Remove(u.f.Name()) // Sweep tries again.
}

// Open implements Target.
func (d Directory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(d), name))
}

// List implements Target. A directory that is missing has nothing.
func (d Directory) List(context.Context) ([]Entry, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	var out []Entry
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("directory of backups: %w", err)
		}
		out = append(out, Entry{Name: e.Name(), Size: fi.Size(), Modified: fi.ModTime()})
	}
	return out, nil
}

// Remove implements Target.
func (d Directory) Remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(string(d), name))
}

// Sweep implements Target.
func (d Directory) Sweep(_ context.Context, age time.Duration, match func(string) bool) error {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("directory of backups: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name, part := strings.CutSuffix(e.Name(), partSuffix)
		name, hidden := strings.CutPrefix(name, ".")
		i := strings.LastIndexByte(name, '.')
		if !part || !hidden || i < 0 || !match(name[:i]) {
			continue
		}
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > age {
			errs = append(errs, os.Remove(filepath.Join(string(d), e.Name())))
		}
	}
	return errors.Join(errs...)
}
