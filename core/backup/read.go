package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// ErrSealed says that the content can't be read without an identity.
var ErrSealed = errors.New("the backup is encrypted")

// Reader reads a backup: its header, then the content or nothing of it, then Finish, without
// which nothing that it said counts.
type Reader struct {
	frames *frameReader
	header Header
	// headerSum is what the manifest says, too.
	headerSum string
	content   io.Reader
	zstd      *zstd.Decoder
	state     *countingReader
}

// Open reads as far as the header.
func Open(r io.Reader) (*Reader, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	if err := f.begin(); err != nil {
		return nil, err
	}
	kind, payload, err := f.next()
	if err != nil {
		return nil, err
	}
	if kind != frameHeader {
		return nil, &DamagedError{int64(len(magic)), "there is no header"}
	}
	out := &Reader{frames: f}
	if err := json.Unmarshal(payload, &out.header); err != nil {
		return nil, &DamagedError{int64(len(magic)), "the header can't be read: " + err.Error()}
	}
	if h := out.header; h.Compression != compressionZstd || h.Encryption != "" && h.Encryption != encryptionAge {
		return nil, fmt.Errorf("the backup has compression %q and encryption %q, which this version does not know: use the version that wrote it (%s)", h.Compression, h.Encryption, h.Server)
	}
	sum := sha256.Sum256(payload)
	out.headerSum = hex.EncodeToString(sum[:])
	return out, nil
}

// Header is what the backup says of itself. Where the content is sealed, only reading the
// content proves it.
func (r *Reader) Header() Header { return r.header }

// Content opens the content and returns the keys in it and the store's stream. Where the header
// says that it is encrypted, identities open it; else they are not looked at.
func (r *Reader) Content(identities ...age.Identity) (keys []File, state io.Reader, err error) {
	r.content = r.frames
	if r.header.Encryption != "" {
		if len(identities) == 0 {
			return nil, nil, ErrSealed
		}
		if r.content, err = age.Decrypt(r.frames, identities...); err != nil {
			var none *age.NoIdentityMatchError
			if errors.As(err, &none) {
				return nil, nil, fmt.Errorf("%w, and not for the identity or passphrase given", ErrSealed)
			}
			return nil, nil, r.damage(err)
		}
	}
	if r.zstd, err = zstd.NewReader(r.content, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
		return nil, nil, r.damage(err)
	}
	in := bufio.NewReader(r.zstd)
	n, err := binary.ReadUvarint(in)
	if err == nil && n > maxManifest {
		err = fmt.Errorf("the manifest has %d bytes", n)
	}
	if err != nil {
		return nil, nil, r.damage(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, nil, r.damage(err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, nil, r.damage(err)
	}
	if m.Header != r.headerSum {
		return nil, nil, &DamagedError{int64(len(magic)), "the header is not the one that the content was written with"}
	}
	if r.header.Keys != (len(m.Keys) > 0) {
		return nil, nil, &DamagedError{int64(len(magic)), "the header does not tell the truth of the keys"}
	}
	r.state = &countingReader{r: in}
	return m.Keys, r.state, nil
}

// Finish reads the rest, checks all checksums and closes the reader. It returns the error that
// reading the content came from, where that was damage.
func (r *Reader) Finish() (Summary, error) {
	if r.zstd != nil {
		defer r.zstd.Close()
		if _, err := io.Copy(io.Discard, r.state); err != nil {
			return Summary{}, r.damage(err)
		}
		// What stands behind the last frame of zstd or age would be read by nobody.
		if n, err := io.Copy(io.Discard, r.content); err != nil || n > 0 {
			return Summary{}, r.damage(errors.Join(err, errors.New("something follows the content")))
		}
	}
	if _, err := io.Copy(io.Discard, r.frames); err != nil {
		return Summary{}, err
	}
	s := r.frames.trailer
	if r.state != nil && r.state.n != s.StateBytes {
		return Summary{}, r.damage(fmt.Errorf("the state has %d bytes, and %d were written", r.state.n, s.StateBytes))
	}
	return s, nil
}

// damage prefers what the frames say of an error that was met in their content.
func (r *Reader) damage(err error) error {
	if r.frames.err != nil && !errors.Is(r.frames.err, io.EOF) {
		return r.frames.err
	}
	return &DamagedError{r.frames.offset, "the content can't be read: " + err.Error()}
}

// frameReader gives the content of frames that are whole.
type frameReader struct {
	r       *bufio.Reader
	sum     hash.Hash
	offset  int64
	count   uint64
	chunk   []byte
	buf     []byte
	err     error
	trailer Summary
}

func (f *frameReader) begin() error {
	b := make([]byte, len(magic))
	if n, err := io.ReadFull(f.r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &DamagedError{int64(n), errNoTrailer.Error()}
		}
		return err
	}
	if string(b) != magic {
		if version, ok := strings.CutPrefix(string(b), magicPrefix); ok {
			return fmt.Errorf("the backup has format %q and this version reads format 1: use a newer version", strings.TrimSpace(version))
		}
		return fmt.Errorf("this is no backup: it begins with %q", b)
	}
	f.sum.Write(b)
	f.offset = int64(len(b))
	return nil
}

// next reads a frame and checks it.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	at := f.offset
	var head [frameHead]byte
	n, err := io.ReadFull(f.r, head[:])
	if err != nil {
		return 0, nil, f.short(at+int64(n), err)
	}
	size := int(binary.BigEndian.Uint32(head[1:]))
	if size > maxFrame {
		return 0, nil, &DamagedError{at, fmt.Sprintf("a frame of %d bytes is longer than any", size)}
	}
	total := frameHead + size + frameTail
	if cap(f.buf) < total {
		f.buf = make([]byte, total, max(total, frameHead+chunkBytes+frameTail))
	}
	b := f.buf[:total]
	copy(b, head[:])
	if n, err = io.ReadFull(f.r, b[frameHead:]); err != nil {
		return 0, nil, f.short(at+frameHead+int64(n), err)
	}
	body, tail := b[:total-frameTail], b[total-frameTail:]
	if checksum(at, body) != binary.BigEndian.Uint32(tail) {
		return 0, nil, &DamagedError{at, fmt.Sprintf("the checksum of the frame of %d bytes that begins there does not match", total)}
	}
	kind, payload = b[0], body[frameHead:]
	if kind == frameTrailer {
		return kind, payload, f.end(at, payload, int64(total))
	}
	f.sum.Write(b)
	f.offset += int64(total)
	return kind, payload, nil
}

func (f *frameReader) short(at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &DamagedError{at, errNoTrailer.Error()}
	}
	return fmt.Errorf("reading the backup at byte %d: %w", at, err)
}

// end checks the trailer at the given offset and that nothing follows.
func (f *frameReader) end(at int64, payload []byte, size int64) error {
	s := &f.trailer
	if err := json.Unmarshal(payload, s); err != nil {
		return &DamagedError{at, "the trailer can't be read: " + err.Error()}
	}
	if s.SHA256 != hex.EncodeToString(f.sum.Sum(nil)) || s.Frames != f.count {
		return &DamagedError{0, "the checksum over all frames does not match"}
	}
	f.offset += size
	s.Bytes = f.offset
	switch _, err := f.r.ReadByte(); {
	case err == nil:
		return &DamagedError{f.offset, "something follows the end"}
	case !errors.Is(err, io.EOF):
		return f.short(f.offset, err)
	}
	return nil
}

// Read implements io.Reader for the content. io.EOF means that the trailer was read, too.
func (f *frameReader) Read(p []byte) (int, error) {
	for len(f.chunk) == 0 && f.err == nil {
		at := f.offset
		kind, payload, err := f.next()
		switch {
		case err != nil:
			f.err = err
		case kind == frameContent:
			f.chunk = payload
			f.count++
		case kind == frameTrailer:
			f.err = io.EOF
		case kind == frameFailure:
			f.err = fmt.Errorf("the backup was not completed: %s", payload)
		default:
			f.err = &DamagedError{at, fmt.Sprintf("a frame of kind %q", kind)}
		}
	}
	if len(f.chunk) == 0 {
		return 0, f.err
	}
	n := copy(p, f.chunk)
	f.chunk = f.chunk[n:]
	return n, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
