package engine

import (
	_ "embed"
	"fmt"
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
	scratch, out []byte
}

var packers = sync.Pool{New: func() any { return &packer{} }}

// pack returns v as it is to be kept, and how that is.
func (p *packer) pack(v value.Value) ([]byte, byte) {
	if _, _, ok := v.Envelope(); ok {
		return v, sealed
	}
	if len(v) < minPacked || len(v) > maxValue {
		return v, plain
	}
	if n := s2.MaxEncodedLen(len(v)); cap(p.scratch) < n {
		p.scratch = make([]byte, n)
	}
	b := dict1().Encode(p.scratch[:0], v)
	if len(b) >= len(v)-len(v)/8 {
		return v, plain
	}
	begin := len(p.out)
	p.out = append(p.out, b...)
	return p.out[begin:len(p.out):len(p.out)], packed1
}

// maxPackerBytes is how much a packer may hold on to between batches.
const maxPackerBytes = 256 << 10

func (p *packer) release() {
	if cap(p.scratch)+cap(p.out) > maxPackerBytes {
		return
	}
	p.out = p.out[:0]
	packers.Put(p)
}

// valueOf returns a value that Badger has, in memory that is the caller's.
func valueOf(it *badger.Item) (value.Value, error) {
	switch how := it.UserMeta(); how {
	case plain, sealed:
		return it.ValueCopy(nil)
	case packed1:
		var v value.Value
		err := it.Value(func(b []byte) (err error) {
			v, err = dict1().Decode(nil, b)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("unpacking a value: %w", err)
		}
		return v, nil
	default:
		return nil, fmt.Errorf("a value is kept in form %d, which a newer version knows", how)
	}
}
