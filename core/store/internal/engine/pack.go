package engine

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/klauspost/compress/s2"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// How a value is kept, in Badger's byte of metadata beside it.
const (
	// plain values are as they came.
	plain byte = iota
	// packed1 values are S2 blocks made with the first dictionary.
	packed1
	// sealed values are as they came; the form says so without reading them.
	sealed
)

// withSum is set in the form where a checksum follows the value: see sumOf. All that has been
// written since the second format of the directory has one.
const withSum byte = 1 << 4

// isSealed says whether a form is that of a sealed value.
func isSealed(form byte) bool { return form&^withSum == sealed }

// sumBytes is the length of a value's checksum.
const sumBytes = 4

// sumOf is the checksum of the version of an object: it covers the name and the revision too,
// so that bytes that were read for another one are not taken.
func sumOf(key []byte, revision uint64, how byte, stored []byte) uint32 {
	var head [9]byte
	binary.BigEndian.PutUint64(head[:], revision)
	head[8] = how
	s := crc32.Checksum(key, castagnoli)
	s = crc32.Update(s, castagnoli, head[:])
	return crc32.Update(s, castagnoli, stored)
}

// minPacked is the length from which on values are packed: below, next to nothing is saved.
const minPacked = 64

// dictionary1 is what objects usually consist of. It must never change, for stores are full of
// values that can't be read without it; a better one is a second one, with a number of its own.
//
//go:embed dictionary1.json
var dictionary1 []byte

var dict1 = sync.OnceValue(func() *s2.Dict { return s2.MakeDict(dictionary1, nil) })

// packer packs the values of one batch. What it returns is valid until it is released.
type packer struct {
	scratch, out, key []byte
}

var packers = sync.Pool{New: func() any { return &packer{} }}

// pack returns a record's value as it is to be kept, and how that is.
func (p *packer) pack(r *Record) ([]byte, byte) {
	begin, how := len(p.out), plain
	if _, _, ok := r.Value.Envelope(); ok {
		how = sealed
	} else if n := len(r.Value); n >= minPacked && n <= maxValue {
		if m := s2.MaxEncodedLen(n); cap(p.scratch) < m {
			p.scratch = make([]byte, m)
		}
		if b := dict1().Encode(p.scratch[:0], r.Value); len(b) < n-n/8 {
			p.out, how = append(p.out, b...), packed1
		}
	}
	if how != packed1 {
		p.out = append(p.out, r.Value...)
	}
	p.key = append(append(p.key[:0], objectPrefix), r.Key...)
	p.out = binary.BigEndian.AppendUint32(p.out, sumOf(p.key, r.Revision, how|withSum, p.out[begin:]))
	return p.out[begin:len(p.out):len(p.out)], how | withSum
}

// maxPackerBytes is how much a packer may hold on to between batches.
const maxPackerBytes = 1 << 20

func (p *packer) release() {
	if cap(p.scratch)+cap(p.out) > maxPackerBytes {
		return
	}
	p.out = p.out[:0]
	packers.Put(p)
}

// valueOf returns a value that Badger has, in memory that is the caller's.
func valueOf(it *badger.Item) (v value.Value, err error) {
	err = storedOf(it, func(b []byte) (err error) {
		switch how := it.UserMeta() &^ withSum; how {
		case plain, sealed:
			v = slices.Clone(b)
		case packed1:
			if v, err = dict1().Decode(nil, b); err != nil {
				return fmt.Errorf("%w: unpacking a value: %w", ErrDamaged, err)
			}
		default:
			return fmt.Errorf("a value is kept in form %d, which a newer version knows", how)
		}
		return nil
	})
	return v, err
}

// storedOf calls fn with the bytes that Badger has of a value, which are valid until it returns.
func storedOf(it *badger.Item, fn func([]byte) error) error {
	return it.Value(func(b []byte) error {
		if how := it.UserMeta(); how&withSum != 0 {
			n := len(b) - sumBytes
			if n < 0 || binary.BigEndian.Uint32(b[n:]) != sumOf(it.Key(), it.Version(), how, b[:n]) {
				return fmt.Errorf("%w: the stored bytes do not match their checksum", ErrDamaged)
			}
			b = b[:n]
		}
		// Badger gives no bytes where the value log does not have them.
		if len(b) == 0 {
			return fmt.Errorf("%w: the stored bytes are missing", ErrDamaged)
		}
		return fn(b)
	})
}

// ErrDamaged says that what was read is not what was written.
var ErrDamaged = errors.New("damaged")
