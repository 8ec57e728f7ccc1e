package backup_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/backup/target"
	"github.com/pintle-dev/pintle/test/process"
)

// s3Server is a real S3 server in a process of its own, whose credentials are in the
// environment of the test.
type s3Server struct{ client *minio.Core }

const (
	accessKey = "pintle"
	secretKey = "a secret of the tests"
	bucket    = "backups"
)

// s3Program builds the server, or is the one that the environment variable S3SERVER names.
var s3Program = sync.OnceValues(func() (string, error) {
	return process.Program(context.Background(), "S3SERVER", "s3server", "github.com/pintle-dev/pintle/test/backup/s3server", built)
})

// startS3 starts a server; pair are the files of a certificate and its key, where it is to
// speak TLS.
func startS3(t *testing.T, pair ...string) *s3Server {
	t.Helper()
	program, err := s3Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_REGION", "us-east-1")
	address := process.FreeAddress(t)
	scheme := "http://"
	if len(pair) > 0 {
		scheme = "https://"
	}
	t.Setenv("AWS_ENDPOINT_URL", scheme+address)
	var log bytes.Buffer
	cmd := exec.Command(program, append([]string{address, t.TempDir()}, pair...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the S3 server's log:\n%s", log.String())
		}
	})
	s := &s3Server{}
	if s.client, err = minio.NewCore(address, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1",
		Secure: len(pair) > 0, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the S3 server is there", func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err := s.client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// uploads that have been begun and not ended.
func (s *s3Server) uploads(t testing.TB) (keys []string) {
	t.Helper()
	for u := range s.client.ListIncompleteUploads(context.Background(), bucket, "", true) {
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		keys = append(keys, u.Key)
	}
	return keys
}

// A target has a file whole or not at all, whatever its size, and leaves nothing behind.
func TestTargets(t *testing.T) {
	s3 := startS3(t)
	dir := t.TempDir()
	for place, left := range map[string]func() []string{
		filepath.Join(dir, "new"): func() []string {
			found, _ := filepath.Glob(filepath.Join(dir, "new", ".*"))
			return found
		},
		"s3://" + bucket:            func() []string { return s3.uploads(t) },
		"s3://" + bucket + "/a/b c": func() []string { return s3.uploads(t) },
	} {
		t.Run(strings.ReplaceAll(place, "/", "_"), func(t *testing.T) {
			to, err := target.New(place, target.S3Options{})
			if err != nil {
				t.Fatal(err)
			}
			testTarget(t, to, left)
		})
	}
	for _, bad := range []string{"s3://", "s3:///x", "s3://user@bucket/x", "s3://bucket/x?y=z"} {
		if _, err := target.New(bad, target.S3Options{}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	for _, bad := range []target.S3Options{{Endpoint: "ftp://x"}, {Endpoint: "localhost:1"}, {CAFile: filepath.Join(dir, "missing")}} {
		if _, err := target.New("s3://bucket/x", bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	missing, err := target.New("s3://elsewhere/x", target.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := missing.List(t.Context()); err == nil || !strings.Contains(err.Error(), "s3://elsewhere/x") {
		t.Errorf("a bucket that is missing: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	wrong, err := target.New("s3://"+bucket, target.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.List(t.Context()); err == nil {
		t.Error("listed with a wrong key")
	}
	// A file of credentials is preferred to the environment.
	file := filepath.Join(dir, "credentials")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[default]\naws_access_key_id = x\naws_secret_access_key = y\n[mine]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey), 0o600); err != nil {
		t.Fatal(err)
	}
	right, err := target.New("s3://"+bucket, target.S3Options{CredentialsFile: file, Profile: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := right.List(t.Context()); err != nil {
		t.Errorf("with a file of credentials: %v", err)
	}
}

// A server with a certificate of an authority of its own is spoken to by who knows that one.
func TestBucketOverTLS(t *testing.T) {
	dir := t.TempDir()
	ca, err := pki.Open(pki.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Serving(pki.Server{Hosts: []string{"127.0.0.1"}, ServiceIP: net.IPv4(10, 0, 0, 1), ClusterDomain: "cluster.local"}); err != nil {
		t.Fatal(err)
	}
	s3 := startS3(t, filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	stranger, err := target.New("s3://"+bucket, target.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // it would be tried again
	defer cancel()
	if _, err := stranger.List(ctx); err == nil {
		t.Error("a server of an unknown authority was trusted")
	}
	to, err := target.New("s3://"+bucket+"/tls", target.S3Options{CAFile: ca.CAFile()})
	if err != nil {
		t.Fatal(err)
	}
	testTarget(t, to, func() []string { return s3.uploads(t) })
}

func testTarget(t *testing.T, to target.Target, left func() []string) {
	ctx := t.Context()
	if list, err := to.List(ctx); err != nil || len(list) != 0 {
		t.Fatalf("nothing is there: %v %v", list, err)
	}
	put := func(ctx context.Context, name string, content []byte) (target.Upload, error) {
		u, err := to.Create(ctx, name)
		if err != nil {
			return nil, err
		}
		for piece := range chunks(content, 300<<10) {
			if _, err := u.Write(piece); err != nil {
				return u, err
			}
		}
		return u, nil
	}
	want := map[string][]byte{}
	for name, size := range map[string]int{"empty.backup": 0, "small.backup": 1000, "one.backup": 8 << 20, "more.backup": 8<<20 + 1, "many.backup": 21 << 20} {
		content := noise(size)
		u, err := put(ctx, name, content)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := to.List(ctx); err != nil || len(list) != len(want) {
			t.Errorf("before it is committed, %s is listed: %v %v", name, list, err)
		}
		if err := u.Commit(); err != nil {
			t.Fatal(err)
		}
		u.Abort() // does nothing
		want[name] = content
	}
	if _, err := to.Create(ctx, "small.backup"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over what is there: %v", err)
	}
	list, err := to.List(ctx)
	if err != nil || len(list) != len(want) {
		t.Fatalf("listed %v %v", list, err)
	}
	for _, e := range list {
		if e.Size != int64(len(want[e.Name])) || time.Since(e.Modified).Abs() > time.Hour {
			t.Errorf("listed %+v, want %d bytes", e, len(want[e.Name]))
		}
		in, err := to.Open(ctx, e.Name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil || !bytes.Equal(got, want[e.Name]) {
			t.Errorf("%s came back as %d bytes, %v", e.Name, len(got), err)
		}
	}
	if _, err := to.Open(ctx, "missing.backup"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening what is not there: %v", err)
	}

	// Given up, by its context, too.
	ending, cancel := context.WithCancel(ctx)
	u, err := put(ending, "given-up.backup", noise(17<<20))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	u.Abort()
	if got := left(); len(got) > 0 {
		t.Errorf("what was given up has left %v", got)
	}
	// Forgotten, as by a process that was killed.
	for _, name := range []string{"forgotten.backup", "others.txt"} {
		if _, err := put(ctx, name, noise(9<<20)); err != nil {
			t.Fatal(err)
		}
	}
	mine := func(name string) bool { return strings.HasSuffix(name, ".backup") }
	if err := to.Sweep(ctx, time.Hour, mine); err != nil || len(left()) != 2 {
		t.Errorf("too early: %v %v", left(), err)
	}
	if err := to.Sweep(ctx, -time.Minute, mine); err != nil || len(left()) != 1 || !strings.Contains(left()[0], "others.txt") {
		t.Errorf("after a sweep: %v %v", left(), err)
	}
	if err := to.Sweep(ctx, -time.Minute, func(string) bool { return true }); err != nil || len(left()) != 0 {
		t.Errorf("after a sweep of all: %v %v", left(), err)
	}
	for name := range want {
		if err := to.Remove(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if list, err := to.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("all was removed: %v %v", list, err)
	}
}

func chunks(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}
