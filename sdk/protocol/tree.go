package protocol

import (
	"fmt"
	"sync"
)

// buffers are where trees are encoded before their length is known.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// maxKeptBuffer is the size up to which a buffer is used again.
const maxKeptBuffer = 256 << 10

// EncodeTree makes the JSON of an object; nil gives nothing. Keys are sorted and there is no
// white space, so that equal trees have equal JSON.
func EncodeTree(tree map[string]any) ([]byte, error) {
	if tree == nil {
		return nil, nil
	}
	var out []byte
	err := WithEncoded(tree, func(b []byte) { out = append(make([]byte, 0, len(b)), b...) })
	return out, err
}

// EncodeTreeLoosely is EncodeTree without the order of keys, for who does not compare the JSON.
// It is the faster by half.
func EncodeTreeLoosely(tree map[string]any) ([]byte, error) {
	if tree == nil {
		return nil, nil
	}
	var out []byte
	err := encode(tree, true, func(b []byte) { out = append(make([]byte, 0, len(b)), b...) })
	return out, err
}

// WithEncoded encodes a tree as EncodeTree does and gives the JSON to use, which must not keep
// it.
func WithEncoded(tree map[string]any, use func([]byte)) error { return encode(tree, false, use) }

func encode(tree map[string]any, loose bool, use func([]byte)) error {
	buf, _ := buffers.Get().(*[]byte)
	e := encoder{b: (*buf)[:0], loose: loose}
	err := e.value(tree)
	if err == nil {
		use(e.b)
	}
	if cap(e.b) <= maxKeptBuffer {
		*buf = e.b
		buffers.Put(buf)
	}
	if err != nil {
		return fmt.Errorf("encode object: %w", err)
	}
	return nil
}

// DecodeTree is the inverse of EncodeTree. Integers are int64. The strings of the tree share
// memory with b, which nobody may change afterwards.
func DecodeTree(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := decoder{s: stringOf(b)}
	tree, err := d.root()
	if err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return tree, nil
}
