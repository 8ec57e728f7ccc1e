package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// cache is a directory of contents by their digest:
//
//	binaries/HEX        executables, 0555; what runs, runs from here
//	blobs/HEX           manifests, plugin.yaml and signatures
//	artifacts/HEX.json  what belongs to the artifact with that manifest, and when it was used last
//	repositories/HEX.json  what a registry has answered, for when it does not
//	tmp/                what is being written
//
// Files get their names when they are complete and on the disk, so a name is never that of half
// a file. What is read is compared with its name each time. Several processes may share it.
type cache struct {
	dir   string
	locks keyedLock
}

func (c *cache) binaryPath(d digest.Digest) string {
	return filepath.Join(c.dir, "binaries", d.Encoded())
}

func (c *cache) blobPath(d digest.Digest) string { return filepath.Join(c.dir, "blobs", d.Encoded()) }

// prepare makes the directories. Plugins run as users of their own and have to reach their
// binary, so everyone may pass; only the owner may write.
func (c *cache) prepare() error {
	for _, sub := range []string{"binaries", "blobs", "artifacts", "repositories", "tmp"} {
		if err := os.MkdirAll(filepath.Join(c.dir, sub), 0o755); err != nil {
			return fmt.Errorf("cache of plugins: %w", err)
		}
	}
	return nil
}

// hold keeps other processes and goroutines from removing anything until release is called.
func (c *cache) hold() (release func(), err error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cache of plugins: %w", err)
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("cache of plugins: lock: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// binary returns the path of the executable with a digest, and writes it first where it is not
// there, or is not what its name says; fresh says that it did. It is mode 0555 and nobody else's
// file.
func (c *cache) binary(ctx context.Context, desc ocispec.Descriptor, open func(context.Context) (io.ReadCloser, error)) (path string, fresh bool, err error) {
	unlock, err := c.locks.lock(ctx, desc.Digest.String())
	if err != nil {
		return "", false, err
	}
	defer unlock()
	path = c.binaryPath(desc.Digest)
	if c.intact(path, desc) {
		touch(path)
		return path, false, nil
	}
	r, err := open(ctx)
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	return path, true, c.write(path, 0o555, desc, r)
}

// intact reports whether a file is there and has the size and the digest that are expected.
func (c *cache) intact(path string, desc ocispec.Descriptor) bool {
	f, err := openRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != desc.Size {
		return false
	}
	got, err := hashOf(f)
	return err == nil && got == desc.Digest
}

// blob returns a small content, or false where it is not there as its digest says.
func (c *cache) blob(desc ocispec.Descriptor) ([]byte, bool) {
	f, err := openRegular(c.blobPath(desc.Digest), unix.O_NOFOLLOW)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil || digest.FromBytes(b) != desc.Digest {
		return nil, false
	}
	return b, true
}

// putBlob keeps a small content. It is only a convenience for later, so a full disk is no error
// of the fetch: the binary's own write will say so.
func (c *cache) putBlob(desc ocispec.Descriptor, b []byte) error {
	return c.write(c.blobPath(desc.Digest), 0o444, desc, newReader(b))
}

// write copies content that must have the size and digest of desc to a file of that name, which
// is there as a whole or not at all, also after a loss of power.
func (c *cache) write(path string, mode os.FileMode, desc ocispec.Descriptor, r io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Join(c.dir, "tmp"), "fetch-*")
	if err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	// One byte more than is expected tells what is too long from what is right.
	n, err := io.Copy(f, io.LimitReader(r, desc.Size+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading %s after %d of %d bytes: %w", desc.Digest, n, desc.Size, err)
	case n > desc.Size:
		return refuse("%s is larger than the %d bytes that its manifest says", desc.Digest, desc.Size)
	case n < desc.Size:
		return fmt.Errorf("%s ended after %d of %d bytes: %w", desc.Digest, n, desc.Size, io.ErrUnexpectedEOF)
	}
	// The copy is hashed and not the stream: what is on the disk is what counts.
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	got, err := hashOf(f)
	if err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	if got != desc.Digest {
		return refuse("what was delivered as %s is %s: it was changed on its way, or where it lies", desc.Digest, got)
	}
	if err = f.Chmod(mode); err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	if err = f.Sync(); err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	if err = syncDirectory(filepath.Dir(path)); err != nil {
		return err
	}
	if mode&0o111 != 0 {
		settle(path)
	}
	return nil
}

// settle waits until nobody has a file open for writing. This process has closed it, but a child
// that was forked meanwhile has it open until it executes something, and as long the kernel
// refuses to execute the file (ETXTBSY). A read lease is given only when there is no writer; where
// leases are not to be had, nothing is waited for.
func settle(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for range 1000 {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		if err == nil {
			_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
			return
		}
		if !errors.Is(err, unix.EAGAIN) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// openRegular opens a file for reading that is a file: a pipe would never end, and a device has
// no content. Further flags may be given.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("is not a regular file")}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func hashOf(r io.Reader) (digest.Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return digestOf(hex.EncodeToString(h.Sum(nil))), nil
}

func digestOf(sum string) digest.Digest { return digest.NewDigestFromEncoded(digest.SHA256, sum) }

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("cache of plugins: %s: %w", path, err)
	}
	return nil
}

// touch says that something is used now. Where that fails it only seems older than it is.
func touch(path string) { now := time.Now(); _ = os.Chtimes(path, now, now) }

// keyedLock makes those wait who want the same content at the same moment.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func (k *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		busy, ok := k.held[key]
		if !ok {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			done := make(chan struct{})
			k.held[key] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
