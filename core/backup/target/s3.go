package target

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Options say which server has the buckets. What is empty comes from the environment, by the
// names that AWS's own tools use.
type S3Options struct {
	// Endpoint is the server's URL (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL); AWS's where nothing
	// is said.
	Endpoint string
	// Region of the bucket (AWS_REGION, AWS_DEFAULT_REGION); the server is asked where nothing
	// is said.
	Region string
	// CredentialsFile is a file of credentials as AWS's tools have it, and Profile a part of it
	// (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE). Without a file, AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN are looked at first.
	CredentialsFile, Profile string
	// CAFile has the certificates of authorities that the server's is signed by, beside the
	// system's.
	CAFile string
}

const (
	awsEndpoint = "https://s3.amazonaws.com"
	// partBytes of a file are in memory and sent at a time. A server takes 10,000 parts.
	partBytes = 8 << 20
	// patience with a server while something is cleaned up.
	patience = 30 * time.Second
)

// s3Bucket is a prefix in a bucket as a target.
type s3Bucket struct {
	client         *minio.Core
	bucket, prefix string
}

var _ Target = (*s3Bucket)(nil)

func newS3(bucket, prefix string, o S3Options) (*s3Bucket, error) {
	text := cmp.Or(o.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), awsEndpoint)
	endpoint, err := url.Parse(text)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" || strings.Trim(endpoint.Path, "/") != "" {
		return nil, fmt.Errorf("S3 endpoint %q: want https://HOST[:PORT]", text)
	}
	secure := endpoint.Scheme == "https"
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("S3 endpoint %s: %w", text, err)
	}
	// A target is used once in hours.
	transport.IdleConnTimeout = 10 * time.Second
	if o.CAFile != "" {
		if err := trust(transport, o.CAFile); err != nil {
			return nil, err
		}
	}
	var chain []credentials.Provider
	if o.CredentialsFile == "" {
		chain = append(chain, &credentials.EnvAWS{})
	}
	chain = append(chain, &credentials.FileAWSCredentials{Filename: o.CredentialsFile, Profile: o.Profile})
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: credentials.NewChainCredentials(chain), Secure: secure, Transport: transport, MaxRetries: 5,
		Region: cmp.Or(o.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("S3 endpoint %s: %w", text, err)
	}
	return &s3Bucket{client: core, bucket: bucket, prefix: prefix}, nil
}

func trust(t *http.Transport, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("authorities of the S3 server: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("authorities of the S3 server: %s has no certificate", file)
	}
	t.TLSClientConfig.RootCAs = pool
	return nil
}

func (b *s3Bucket) key(name string) string {
	if b.prefix == "" {
		return name
	}
	return b.prefix + "/" + name
}

// fail says where something failed.
func (b *s3Bucket) fail(what, key string, err error) error {
	if err == nil {
		return nil
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		err = errors.Join(fs.ErrNotExist, err)
	}
	return fmt.Errorf("%s s3://%s/%s: %w", what, b.bucket, key, err)
}

// Create implements Target. Nothing is sent before a part is full.
func (b *s3Bucket) Create(ctx context.Context, name string) (Upload, error) {
	key := b.key(name)
	_, err := b.client.StatObject(ctx, b.bucket, key, minio.StatObjectOptions{})
	if err == nil {
		return nil, fmt.Errorf("s3://%s/%s: %w", b.bucket, key, fs.ErrExist)
	}
	if code := minio.ToErrorResponse(err).Code; code != minio.NoSuchKey && code != "NotFound" {
		return nil, b.fail("looking for", key, err)
	}
	return &s3Upload{ctx: ctx, b: b, key: key}, nil
}

// s3Upload is an object being written: in parts, or at once where it is small.
type s3Upload struct {
	ctx   context.Context
	b     *s3Bucket
	key   string
	id    string
	buf   []byte
	parts []minio.CompletePart
	done  bool
}

// What is sent is signed with the SHA-256 that is given with it. The library would sign pieces of
// it on connections without TLS, which not every server takes.
var objectOptions = minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}

// Write implements io.Writer.
func (u *s3Upload) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(u.buf) == partBytes {
			if err := u.send(); err != nil {
				return 0, err
			}
		}
		if cap(u.buf) < partBytes && len(u.buf)+len(p) > cap(u.buf) {
			// Grown by itself it would end at more than a part.
			grown := make([]byte, len(u.buf), min(partBytes, max(2*cap(u.buf), len(u.buf)+len(p))))
			copy(grown, u.buf)
			u.buf = grown
		}
		take := min(len(p), cap(u.buf)-len(u.buf), partBytes-len(u.buf))
		u.buf, p = append(u.buf, p[:take]...), p[take:]
	}
	return n, nil
}

// send sends a part.
func (u *s3Upload) send() error {
	c := u.b.client
	if u.id == "" {
		id, err := c.NewMultipartUpload(u.ctx, u.b.bucket, u.key, objectOptions)
		if err != nil {
			return u.b.fail("writing", u.key, err)
		}
		u.id = id
	}
	sum := sha256.Sum256(u.buf)
	part, err := c.PutObjectPart(u.ctx, u.b.bucket, u.key, u.id, len(u.parts)+1, bytes.NewReader(u.buf), int64(len(u.buf)),
		minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
	if err != nil {
		return u.b.fail("writing", u.key, err)
	}
	u.parts = append(u.parts, minio.CompletePart{PartNumber: part.PartNumber, ETag: part.ETag})
	u.buf = u.buf[:0]
	return nil
}

// Commit makes the object.
func (u *s3Upload) Commit() error {
	if u.done {
		return nil
	}
	c := u.b.client
	if u.id == "" {
		sum := sha256.Sum256(u.buf)
		_, err := c.PutObject(u.ctx, u.b.bucket, u.key, bytes.NewReader(u.buf), int64(len(u.buf)), "", hex.EncodeToString(sum[:]), objectOptions)
		u.done = err == nil
		return u.b.fail("writing", u.key, err)
	}
	if len(u.buf) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	_, err := c.CompleteMultipartUpload(u.ctx, u.b.bucket, u.key, u.id, u.parts, objectOptions)
	u.done = err == nil
	return u.b.fail("writing", u.key, err)
}

// Abort gives up the parts that were sent, also where the upload's context has ended.
func (u *s3Upload) Abort() {
	if u.done || u.id == "" {
		return
	}
	u.done = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), patience)
	defer cancel()
	_ = u.b.client.AbortMultipartUpload(ctx, u.b.bucket, u.key, u.id) // Sweep tries again.
}

// Open implements Target.
func (b *s3Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, _, _, err := b.client.GetObject(ctx, b.bucket, b.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.fail("reading", b.key(name), err)
	}
	return r, nil
}

// List implements Target.
func (b *s3Bucket) List(ctx context.Context) ([]Entry, error) {
	// The library's goroutine ends with the context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out []Entry
	for o := range b.client.Client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.key("")}) {
		if o.Err != nil {
			return nil, b.fail("listing", b.key(""), o.Err)
		}
		if name := strings.TrimPrefix(o.Key, b.key("")); name != "" && !strings.HasSuffix(name, "/") {
			out = append(out, Entry{Name: name, Size: o.Size, Modified: o.LastModified})
		}
	}
	return out, nil
}

// Remove implements Target.
func (b *s3Bucket) Remove(ctx context.Context, name string) error {
	return b.fail("removing", b.key(name), b.client.RemoveObject(ctx, b.bucket, b.key(name), minio.RemoveObjectOptions{}))
}

// Sweep implements Target.
func (b *s3Bucket) Sweep(ctx context.Context, age time.Duration, match func(string) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs []error
	for u := range b.client.ListIncompleteUploads(ctx, b.bucket, b.key(""), false) {
		if u.Err != nil {
			return errors.Join(append(errs, b.fail("listing uploads to", b.key(""), u.Err))...)
		}
		if name := strings.TrimPrefix(u.Key, b.key("")); match(name) && time.Since(u.Initiated) > age {
			errs = append(errs, b.fail("giving up an upload to", u.Key, b.client.AbortMultipartUpload(ctx, b.bucket, u.Key, u.UploadID)))
		}
	}
	return errors.Join(errs...)
}
