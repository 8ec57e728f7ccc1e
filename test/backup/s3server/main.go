// Command s3server serves a directory through the S3 protocol on a loopback address, for the
// tests of backups: an S3 server that others wrote and use, in a module of its own so that
// nothing else depends on it.
//
//	s3server ADDRESS DIRECTORY [CERTIFICATE KEY]
//
// With files of a certificate and its key it speaks TLS.
// The credentials are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Directories below
// DIRECTORY are buckets.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return errors.New("usage: s3server ADDRESS DIRECTORY [CERTIFICATE KEY]")
	}
	// Attributes stand in files beside, since not every file system of a test machine takes
	// extended ones.
	buckets, attributes := filepath.Join(args[1], "buckets"), filepath.Join(args[1], "attributes")
	for _, dir := range []string{buckets, attributes} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	side, err := meta.NewSideCar(attributes)
	if err != nil {
		return err
	}
	files, err := posix.New(buckets, side, posix.PosixOpts{SideCarDir: attributes, ForceNoTmpFile: true, Concurrency: 64})
	if err != nil {
		return err
	}
	conf := &embedgw.Config{
		RootUserAccess: os.Getenv("AWS_ACCESS_KEY_ID"), RootUserSecret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Ports: []string{args[0]}, MaxConnections: 256, MaxRequests: 256, MultipartMaxParts: 10000,
		KeepAlive: true, Quiet: true, DisableACLs: true,
	}
	if len(args) == 4 {
		conf.CertFile, conf.KeyFile = args[2], args[3]
	}
	return embedgw.RunVersityGW(ctx, files, conf)
}
