package value

import (
	"encoding/binary"
	"strconv"
)

// maxDigits is the length of the longest revision in decimal.
const maxDigits = 20

// Value is a header (the offset of the revision in the object plus one as a varint; 0 for
// an object without one) followed by the object. It is never changed once made.
type Value []byte

// Make stores data with revision in decimal inserted at offset at (negative: nowhere). It
// is the one copy that index, disk, events and results share.
func Make(data []byte, at int, revision uint64) Value {
	if at < 0 {
		v := make(Value, 0, 1+len(data))
		return append(append(v, 0), data...)
	}
	var digits [maxDigits]byte
	d := strconv.AppendUint(digits[:0], revision, 10)
	v := make(Value, 0, uvarintLen(uint64(at)+1)+len(data)+len(d))
	v = binary.AppendUvarint(v, uint64(at)+1)
	v = append(v, data[:at]...)
	v = append(v, d...)
	return append(v, data[at:]...)
}

// Data is the object.
func (v Value) Data() []byte {
	if len(v) == 0 {
		return nil
	}
	_, n := binary.Uvarint(v)
	if n <= 0 {
		return nil
	}
	return v[n:len(v):len(v)]
}

// WithRevision is v, which holds revision old, with revision instead.
func (v Value) WithRevision(old, revision uint64) Value {
	at, n := binary.Uvarint(v)
	if n <= 0 || at == 0 {
		return v
	}
	data, off := v[n:], int(at-1)
	var digits [maxDigits]byte
	behind := off + len(strconv.AppendUint(digits[:0], old, 10))
	d := strconv.AppendUint(digits[:0], revision, 10)
	w := make(Value, 0, len(v)+len(d))
	w = append(w, v[:n]...)
	w = append(w, data[:off]...)
	w = append(w, d...)
	return append(w, data[behind:]...)
}

// Valid says whether v has the shape that Make gives at the given revision.
func (v Value) Valid(revision uint64) bool {
	at, n := binary.Uvarint(v)
	if n <= 0 {
		return false
	}
	if at == 0 {
		return true
	}
	d := strconv.FormatUint(revision, 10)
	data, off := v[n:], at-1
	return off+uint64(len(d)) <= uint64(len(data)) && string(data[off:off+uint64(len(d))]) == d
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
