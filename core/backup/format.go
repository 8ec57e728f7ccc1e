package backup

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// A backup file is a magic and then frames, of which the first is the header, the last the
// trailer, and all others are pieces of the content. A frame is
//
//	kind (1 byte), length of the payload (4 bytes), payload, CRC-32C (4 bytes),
//
// numbers in big endian; the checksum covers the frame's offset in the file (8 bytes) and then
// everything before it in the frame, so that a frame in a wrong place is damage, too. The
// trailer has the SHA-256 of all before it, and nothing follows it.
//
// The content is a zstd stream, sealed by age where the header says so, of
//
//	uvarint length, manifest (JSON), the store's stream to its end.
const magic = "PINTLE-BACKUP-1\n"

// magicPrefix is what the magic of every format begins with.
const magicPrefix = "PINTLE-BACKUP-"

const (
	frameHeader  = 'H'
	frameContent = 'C'
	frameTrailer = 'T'
	// frameFailure has the words for why the writer stopped: a backup with it is none.
	frameFailure = 'F'

	frameHead = 5
	frameTail = crc32.Size

	// chunkBytes of content are in a frame, but for the last one.
	chunkBytes = 256 << 10
	// maxFrame is the longest payload that a reader believes in.
	maxFrame = 1 << 20
	// maxManifest bounds the manifest, in which the largest are keys.
	maxManifest = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a backup says of itself before its content. It is not secret.
type Header struct {
	// Cluster identifies the cluster: the UID of its namespace kube-system.
	Cluster string `json:"cluster,omitempty"`
	// Revision of the state.
	Revision uint64 `json:"revision"`
	// Created is when the revision was pinned, by the clock of the server.
	Created time.Time `json:"created"`
	// Server is the version of the server that has read the state.
	Server string `json:"server,omitempty"`
	// Compression and Encryption of the content; "" is none.
	Compression string `json:"compression,omitempty"`
	Encryption  string `json:"encryption,omitempty"`
	// Keys says that the cluster's keys are in the content.
	Keys bool `json:"keys,omitempty"`
}

// What Compression and Encryption may say.
const (
	compressionZstd = "zstd"
	encryptionAge   = "age"
)

// Summary is what a backup says of itself at its end.
type Summary struct {
	// Objects in the state.
	Objects uint64 `json:"objects"`
	// StateBytes of the store's stream, before compression.
	StateBytes int64 `json:"stateBytes"`
	// Frames of content.
	Frames uint64 `json:"frames"`
	// SHA256 of all before the trailer, in hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Bytes of the whole file.
	Bytes int64 `json:"-"`
}

// manifest begins the content.
type manifest struct {
	// Header is the SHA-256 of the header's payload: where the content is sealed, the header is
	// so, too.
	Header string `json:"header"`
	// Keys of the cluster.
	Keys []File `json:"keys,omitempty"`
}

// File is a file of the cluster's keys.
type File struct {
	// Path in the data directory, with slashes.
	Path string `json:"path"`
	Data []byte `json:"data"`
}

// DamagedError says that a backup is not what was written.
type DamagedError struct {
	// Offset in the file from which on it is not to be believed.
	Offset int64
	Reason string
}

// Error names the offset.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the backup is damaged at byte %d: %s", e.Offset, e.Reason)
}

// appendFrame appends the frame that stands at offset.
func appendFrame(b []byte, kind byte, offset int64, payload []byte) []byte {
	begin := len(b)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // at most maxFrame
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, checksum(offset, b[begin:]))
}

// checksum of a frame at offset, of all of it but the checksum itself.
func checksum(offset int64, frame []byte) uint32 {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(offset)) //nolint:gosec // a position in a file
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, frame)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these structures have nothing that JSON can't say
	}
	return b
}

// Suffix of the names of backups.
const Suffix = ".backup"

const timeInName = "20060102T150405Z"

// Name of the backup with header h. Names of one cluster sort by time.
func Name(h Header) string {
	return fmt.Sprintf("pintle-%s-%s-%d%s", shortCluster(h.Cluster), h.Created.UTC().Format(timeInName), h.Revision, Suffix)
}

// Named is what the name of a backup says.
type Named struct {
	Name    string
	Created time.Time
	// Cluster is the beginning of Header.Cluster.
	Cluster string
	// Revision of the state.
	Revision uint64
}

// ParseName understands what Name has made; false where it has not.
func ParseName(name string) (Named, bool) {
	rest, ok := strings.CutSuffix(name, Suffix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 4 || parts[0] != "pintle" {
		return Named{}, false
	}
	created, err := time.Parse(timeInName, parts[2])
	if err != nil {
		return Named{}, false
	}
	n := Named{Name: name, Created: created, Cluster: parts[1]}
	if _, err := fmt.Sscanf(parts[3], "%d", &n.Revision); err != nil || fmt.Sprint(n.Revision) != parts[3] {
		return Named{}, false
	}
	return n, true
}

// shortCluster is enough of a cluster's identity to tell a few from each other.
func shortCluster(id string) string {
	id = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(id))
	if id == "" {
		return "unknown"
	}
	return id[:min(len(id), 8)]
}
