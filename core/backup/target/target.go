// Package target keeps files of backups: in a directory, or in a bucket of a server that speaks
// the S3 protocol. A file is there whole or not at all.
//
// It knows names and bytes. It must not know what is in a backup.
package target

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Target is a place for backups.
type Target interface {
	// Create begins a file. A file of that name must not exist.
	Create(ctx context.Context, name string) (Upload, error)
	// Open reads a file.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List names the files that have been committed.
	List(ctx context.Context) ([]Entry, error)
	// Remove deletes a file.
	Remove(ctx context.Context, name string) error
	// Sweep deletes what interrupted uploads of names that match have left for longer than age.
	Sweep(ctx context.Context, age time.Duration, match func(name string) bool) error
}

// Upload is a file being written. It exists from Commit on; Abort after Commit does nothing.
type Upload interface {
	io.Writer
	Commit() error
	Abort()
}

// Entry is a file.
type Entry struct {
	Name string
	// Size in bytes.
	Size int64
	// Modified is when it was committed.
	Modified time.Time
}

// S3Scheme begins the URLs of buckets.
const S3Scheme = "s3://"

// New is the target at a place: a directory's path, or s3://BUCKET/PREFIX. Nothing is looked at.
func New(place string, s3 S3Options) (Target, error) {
	if !strings.HasPrefix(place, S3Scheme) {
		return Directory(filepath.Clean(place)), nil
	}
	u, err := url.Parse(place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s: want s3://BUCKET/PREFIX", place)
	}
	return newS3(u.Host, strings.Trim(u.Path, "/"), s3)
}

// Split cuts a place that names one file, which ends in suffix, into the place of its target
// and the file's name. A place that names no file has no name.
func Split(place, suffix string) (at, name string) {
	if !strings.HasSuffix(place, suffix) {
		return place, ""
	}
	if rest, ok := strings.CutPrefix(place, S3Scheme); ok {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return place, ""
		}
		return S3Scheme + rest[:i], rest[i+1:]
	}
	if fi, err := os.Stat(place); err == nil && fi.IsDir() {
		return place, ""
	}
	return filepath.Split(place)
}
