package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Content is what a backup is made of.
type Content struct {
	// Header; what it says of the content's form is set here.
	Header Header
	// Keys of the cluster; none leaves them out.
	Keys []File
	// State writes the store's stream and returns the number of objects in it.
	State func(ctx context.Context, w io.Writer) (objects uint64, err error)
	// Recipients seal the content; none leaves it open.
	Recipients []age.Recipient
}

// Write writes a backup to w in bounded memory. A backup that fails on its way says so in its
// last frame, if w still takes it, and is refused by every reader in any case.
func Write(ctx context.Context, w io.Writer, c Content) (Header, Summary, error) {
	h := c.Header
	h.Compression, h.Encryption, h.Keys = compressionZstd, "", len(c.Keys) > 0
	if len(c.Recipients) > 0 {
		h.Encryption = encryptionAge
	}
	out := &frames{ctx: ctx, w: w, sum: sha256.New()}
	s, err := c.write(ctx, out, h)
	if err == nil {
		return h, s, nil
	}
	if out.err == nil {
		// The reader is still there: it learns why.
		text := err.Error()
		_ = out.frame(frameFailure, []byte(text[:min(len(text), maxFrame)]))
	}
	return h, Summary{}, err
}

func (c Content) write(ctx context.Context, out *frames, h Header) (s Summary, err error) {
	if err := out.begin(); err != nil {
		return s, err
	}
	head := mustJSON(h)
	if err := out.frame(frameHeader, head); err != nil {
		return s, err
	}
	var inner io.WriteCloser = out
	if len(c.Recipients) > 0 {
		if inner, err = age.Encrypt(out, c.Recipients...); err != nil {
			return s, fmt.Errorf("encrypting the backup: %w", err)
		}
	}
	// One goroutine and a small window: a server does this beside its work.
	z, err := zstd.NewWriter(inner, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return s, fmt.Errorf("compressing the backup: %w", err)
	}
	sum := sha256.Sum256(head)
	m := mustJSON(manifest{Header: hex.EncodeToString(sum[:]), Keys: c.Keys})
	if len(m) > maxManifest {
		return s, fmt.Errorf("the keys have %d bytes, more than %d", len(m), maxManifest)
	}
	if _, err := z.Write(append(binary.AppendUvarint(nil, uint64(len(m))), m...)); err != nil {
		return s, err
	}
	state := &counting{w: z}
	if s.Objects, err = c.State(ctx, state); err != nil {
		return s, err
	}
	if err := z.Close(); err != nil {
		return s, err
	}
	if len(c.Recipients) > 0 {
		if err := inner.Close(); err != nil {
			return s, err
		}
	}
	if err := out.Close(); err != nil {
		return s, err
	}
	s.StateBytes, s.Frames = state.n, out.count
	s.SHA256 = hex.EncodeToString(out.sum.Sum(nil))
	err = out.frame(frameTrailer, mustJSON(s))
	s.Bytes = out.offset
	return s, err
}

// frames cuts content into frames.
type frames struct {
	ctx    context.Context
	w      io.Writer
	sum    hash.Hash
	offset int64
	count  uint64
	chunk  []byte
	buf    []byte
	// err is the writer's, after which nothing can be said any more.
	err error
}

func (f *frames) begin() error { return f.put([]byte(magic)) }

func (f *frames) put(b []byte) error {
	if f.err == nil {
		f.err = f.ctx.Err()
	}
	if f.err != nil {
		return f.err
	}
	n, err := f.w.Write(b)
	f.sum.Write(b[:n])
	f.offset += int64(n)
	f.err = err
	return err
}

func (f *frames) frame(kind byte, payload []byte) error {
	f.buf = appendFrame(f.buf[:0], kind, f.offset, payload)
	return f.put(f.buf)
}

// Write implements io.Writer for content.
func (f *frames) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if f.chunk == nil {
			f.chunk = make([]byte, 0, chunkBytes)
		}
		take := min(len(p), chunkBytes-len(f.chunk))
		f.chunk, p = append(f.chunk, p[:take]...), p[take:]
		if len(f.chunk) == chunkBytes {
			if err := f.Close(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Close writes what is left of the content.
func (f *frames) Close() error {
	if len(f.chunk) == 0 {
		return f.err
	}
	f.count++
	err := f.frame(frameContent, f.chunk)
	f.chunk = f.chunk[:0]
	return err
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// errNoTrailer is what a reader would meet.
var errNoTrailer = errors.New("it ends before its trailer: its writing was interrupted, or it was cut")
