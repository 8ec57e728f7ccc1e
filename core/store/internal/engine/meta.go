package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Meta says how far the state on disk has come.
type Meta struct {
	// Applied is the Raft index of the last entry whose effects are all on disk.
	Applied uint64
	// Revision of the last write at Applied.
	Revision uint64
	// Horizon is the oldest revision whose history is complete.
	Horizon uint64
	// Digest is the sum of the fingerprints of all live objects at Revision, so that a state
	// that lacks some of what was written is not taken for one that has it all. 0: not known.
	Digest uint64
}

// Versions of the format: the first has no digest.
const (
	metaVersion1 = 1
	metaVersion2 = 2
)

func (m Meta) encode() []byte {
	b := []byte{metaVersion2}
	b = binary.AppendUvarint(b, m.Applied)
	b = binary.AppendUvarint(b, m.Revision)
	b = binary.AppendUvarint(b, m.Horizon)
	b = binary.BigEndian.AppendUint64(b, m.Digest)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeMeta(b []byte) (Meta, error) {
	var m Meta
	if len(b) == 0 || b[0] < metaVersion1 || b[0] > metaVersion2 {
		return m, fmt.Errorf("state's metadata has an unknown format (% x)", b)
	}
	if b[0] == metaVersion2 {
		n := len(b) - crc32.Size
		if n < 8 || binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
			return m, errors.New("state's metadata does not match its checksum")
		}
		m.Digest, b = binary.BigEndian.Uint64(b[n-8:]), b[:n-8]
	}
	b = b[1:]
	for _, f := range []*uint64{&m.Applied, &m.Revision, &m.Horizon} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return m, fmt.Errorf("state's metadata is cut short")
		}
		*f, b = v, b[n:]
	}
	return m, nil
}

// Keys in Badger: objects and metadata have a first byte of their own.
const objectPrefix = 'o'

var metaKey = []byte("m/applied")

func objectKey(key string) []byte {
	b := make([]byte, 0, 1+len(key))
	return append(append(b, objectPrefix), key...)
}
