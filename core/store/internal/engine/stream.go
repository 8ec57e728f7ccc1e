package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// A stream is a state at one revision, as one server sends it to another:
//
//	magic, uvarint applied, uvarint revision,
//	per object: uvarint len(key) > 0, key, uvarint revision, uvarint len(value), value,
//	0, uvarint number of objects, CRC-32C of everything before (4 bytes, big endian).
const streamMagic = "PINTLE-STATE-1\n"

const (
	maxKey   = 64 << 10
	maxValue = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenStream reads the state at meta.Revision as a stream. Its size is known beforehand.
func (e *Engine) OpenStream(meta Meta) (size int64, _ io.ReadCloser, err error) {
	release := e.Pin(meta.Revision)
	size, err = e.streamSize(meta)
	if err != nil {
		release()
		return 0, nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer release()
		_, err := e.WriteStream(context.Background(), w, meta)
		_ = w.CloseWithError(err)
	}()
	return size, r, nil
}

func (e *Engine) streamSize(meta Meta) (int64, error) {
	n := int64(len(streamMagic)) + uvarintLen(meta.Applied) + uvarintLen(meta.Revision)
	var count uint64
	err := e.scanStored(context.Background(), "", "", meta.Revision,
		func(key string, version uint64, load func() (value.Value, error)) (bool, error) {
			v, err := load()
			if err != nil {
				return false, err
			}
			count++
			n += uvarintLen(uint64(len(key))) + int64(len(key)) + uvarintLen(version) +
				uvarintLen(uint64(len(v))) + int64(len(v))
			return true, nil
		})
	return n + 1 + uvarintLen(count) + crc32.Size, err
}

// ErrReplaced says that the state was replaced by another one while it was read.
var ErrReplaced = errors.New("the state was replaced while it was read")

// WriteStream writes the state at meta.Revision, which the caller pins, to w and returns how
// many objects it has. It holds on to the state for a piece at a time, never while it writes:
// a slow reader keeps nobody from closing or replacing it.
func (e *Engine) WriteStream(ctx context.Context, w io.Writer, meta Meta) (count uint64, err error) {
	e.mu.RLock()
	db := e.db
	e.mu.RUnlock()
	sum := crc32.New(castagnoli)
	bw := bufio.NewWriterSize(w, 64<<10)
	out := io.MultiWriter(bw, sum)
	head := append([]byte(nil), streamMagic...)
	head = binary.AppendUvarint(head, meta.Applied)
	head = binary.AppendUvarint(head, meta.Revision)
	if _, err := out.Write(head); err != nil {
		return 0, err
	}
	for after, more := "", true; more; {
		var piece []Record
		if piece, more, err = e.piece(ctx, db, after, meta.Revision); err != nil {
			return 0, fmt.Errorf("streaming the state: %w", err)
		}
		for i := range piece {
			r := &piece[i]
			head = binary.AppendUvarint(head[:0], uint64(len(r.Key)))
			head = append(head, r.Key...)
			head = binary.AppendUvarint(head, r.Revision)
			head = binary.AppendUvarint(head, uint64(len(r.Value)))
			if _, err := out.Write(head); err != nil {
				return 0, err
			}
			if _, err := out.Write(r.Value); err != nil {
				return 0, err
			}
			after = r.Key
		}
		count += uint64(len(piece))
	}
	if _, err := out.Write(binary.AppendUvarint([]byte{0}, count)); err != nil {
		return 0, err
	}
	if _, err := bw.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return 0, err
	}
	return count, bw.Flush()
}

// pieceBytes of objects are read at a time.
const pieceBytes = 256 << 10

// piece reads the next objects behind after, as long as db is still the state.
func (e *Engine) piece(ctx context.Context, db *badger.DB, after string, revision uint64) (records []Record, more bool, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	switch {
	case e.db == nil:
		return nil, false, badger.ErrDBClosed
	case e.db != db:
		return nil, false, ErrReplaced
	}
	size := 0
	err = scan(ctx, db, "", after, revision,
		func(key string, version uint64, load func() (value.Value, error)) (bool, error) {
			if size >= pieceBytes {
				more = true
				return false, nil
			}
			v, err := load()
			if err != nil {
				return false, fmt.Errorf("%s at revision %d: %w", key, version, err)
			}
			records = append(records, Record{Key: key, Revision: version, Value: v})
			size += len(key) + len(v)
			return true, nil
		})
	return records, more, err
}

// Replace makes the state in a stream this engine's state: it is built beside the old one
// and takes its place at once, so that a crash leaves one or the other.
func (e *Engine) Replace(r io.Reader) (Meta, error) {
	name := following(e.name)
	path := filepath.Join(e.dir, name)
	if err := os.RemoveAll(path); err != nil {
		return Meta{}, err
	}
	meta, err := e.build(path, r)
	if err != nil {
		return Meta{}, errors.Join(err, os.RemoveAll(path))
	}
	if err := setCurrent(e.dir, name); err != nil {
		return Meta{}, err
	}
	db, err := openBadger(path, e.log)
	if err != nil {
		return Meta{}, err
	}
	e.mu.Lock()
	old, oldName := e.db, e.name
	e.db, e.name = db, name
	e.mu.Unlock()

	e.pinMu.Lock()
	e.discard = 0
	e.pinMu.Unlock()
	if err := errors.Join(old.Close(), os.RemoveAll(filepath.Join(e.dir, oldName))); err != nil {
		e.log.Warn("removing the state that a snapshot replaced", "directory", oldName, "error", err)
	}
	return meta, nil
}

func (e *Engine) build(path string, r io.Reader) (_ Meta, err error) {
	db, err := openBadger(path, e.log)
	if err != nil {
		return Meta{}, err
	}
	closed := false
	defer func() {
		if !closed {
			_ = db.Close()
		}
	}()
	meta, err := ReadStream(r, func(records []Record) error { _, err := write(db, records, Meta{}); return err })
	if err != nil {
		return Meta{}, fmt.Errorf("reading a snapshot: %w", err)
	}
	if _, err := write(db, nil, meta); err != nil {
		return Meta{}, err
	}
	closed = true
	if err := db.Close(); err != nil {
		return Meta{}, err
	}
	return meta, syncFiles(path)
}

// ReadStream reads a stream to its end and checks it, and calls put with its objects, some at
// a time, in the order of their keys. What put has been given counts for nothing where the
// stream turns out to be damaged.
func ReadStream(r io.Reader, put func([]Record) error) (Meta, error) {
	return readStream(&summed{r: bufio.NewReaderSize(r, 64<<10), sum: crc32.New(castagnoli)}, put)
}

func readStream(in *summed, put func([]Record) error) (meta Meta, err error) {
	magic := make([]byte, len(streamMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != streamMagic {
		return meta, errors.Join(fmt.Errorf("not a state stream: it begins with %q", magic), err)
	}
	if meta.Applied, err = binary.ReadUvarint(in); err != nil {
		return meta, err
	}
	if meta.Revision, err = binary.ReadUvarint(in); err != nil {
		return meta, err
	}
	// The history before a snapshot stays behind.
	meta.Horizon = meta.Revision
	var (
		batch []Record
		size  int
		count uint64
	)
	for {
		klen, err := binary.ReadUvarint(in)
		if err != nil {
			return meta, err
		}
		if klen == 0 {
			break
		}
		key, err := in.bytes(klen, maxKey)
		if err != nil {
			return meta, err
		}
		rev, err := binary.ReadUvarint(in)
		if err != nil {
			return meta, err
		}
		vlen, err := binary.ReadUvarint(in)
		if err != nil {
			return meta, err
		}
		v, err := in.bytes(vlen, maxValue)
		if err != nil {
			return meta, err
		}
		count++
		batch, size = append(batch, Record{Key: string(key), Revision: rev, Value: v}), size+len(v)
		if size > 1<<20 || len(batch) >= 1024 {
			if err := put(batch); err != nil {
				return meta, err
			}
			batch, size = nil, 0
		}
	}
	if want, err := binary.ReadUvarint(in); err != nil || want != count {
		return meta, errors.Join(fmt.Errorf("%d objects came, %d were sent", count, want), err)
	}
	want := in.sum.Sum32()
	var got [crc32.Size]byte
	if _, err := io.ReadFull(in, got[:]); err != nil {
		return meta, err
	}
	if binary.BigEndian.Uint32(got[:]) != want {
		return meta, errors.New("checksum does not match")
	}
	return meta, put(batch)
}

// summed reads and sums what it reads.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash32
	one [1]byte
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = b
		s.sum.Write(s.one[:])
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func (s *summed) bytes(n, limit uint64) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("a length of %d bytes is more than %d", n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s, b)
	return b, err
}

func uvarintLen(v uint64) int64 {
	n := int64(1)
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
