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

// sealedBit in the header marks a sealed value. No object is long enough for an offset that
// reaches it, and code that does not know it finds the value damaged.
const sealedBit = 1 << 27

// MakeSealed is how an object is kept whose bytes, without the revision that belongs at offset
// at, are sealed in envelope.
func MakeSealed(envelope []byte, at int) Value {
	h := uint64(max(at, -1)+1) | sealedBit
	v := make(Value, 0, uvarintLen(h)+len(envelope))
	return append(binary.AppendUvarint(v, h), envelope...)
}

// Envelope returns what MakeSealed was given; ok is false where v is not sealed.
func (v Value) Envelope() (envelope []byte, at int, ok bool) {
	h, n := binary.Uvarint(v)
	if n <= 0 || h&sealedBit == 0 {
		return nil, 0, false
	}
	return v[n:len(v):len(v)], int(h&^sealedBit) - 1, true
}

// Parts is the inverse of Make for a value of the given revision.
func (v Value) Parts(revision uint64) (data []byte, at int) {
	h, n := binary.Uvarint(v)
	if n <= 0 || h == 0 {
		return v.Data(), -1
	}
	at = int(h - 1)
	digits := len(strconv.AppendUint(nil, revision, 10))
	data = make([]byte, 0, len(v)-n-digits)
	data = append(data, v[n:n+at]...)
	return append(data, v[n+at+digits:]...), at
}

// Data is the object, or of a sealed value the envelope.
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

// Fingerprint is a number that stands for an object at a revision. The sum of those of all live
// objects tells one state from another.
func Fingerprint(key string, revision uint64) uint64 {
	// FNV-1a of the key, and then the finalizer of SplitMix64, so that sums of neighbours differ.
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h += revision * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// NoFingerprints is the sum of none; a sum of 0 means that it is not known.
const NoFingerprints = 1
