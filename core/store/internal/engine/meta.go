package engine

import (
	"encoding/binary"
	"fmt"
)

// Meta says how far the state on disk has come.
type Meta struct {
	// Applied is the Raft index of the last entry whose effects are all on disk.
	Applied uint64
	// Revision of the last write at Applied.
	Revision uint64
	// Horizon is the oldest revision whose history is complete.
	Horizon uint64
}

const metaVersion = 1

func (m Meta) encode() []byte {
	b := []byte{metaVersion}
	b = binary.AppendUvarint(b, m.Applied)
	b = binary.AppendUvarint(b, m.Revision)
	return binary.AppendUvarint(b, m.Horizon)
}

func decodeMeta(b []byte) (Meta, error) {
	var m Meta
	if len(b) == 0 || b[0] != metaVersion {
		return m, fmt.Errorf("state's metadata has an unknown format (% x)", b)
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
