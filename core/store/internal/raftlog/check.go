package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// The format of raft-wal's segments (version 0): a header of 32 bytes, then frames of 8 bytes
// (type, three zeros, length or checksum, little endian) and a padded payload. A batch is the
// entries of one append and, in the last batch of a segment, the index; it ends with a commit
// frame that has the CRC-32C of everything since the batch before. What follows the last batch
// is zero, or what a crash left of one that was never acknowledged.
const (
	walMagic    = 0x58eb6b0d
	fileHeader  = 32
	frameHeader = 8
	frameEntry  = 1
	frameIndex  = 2
	frameCommit = 3
	maxFrame    = segment.MaxEntrySize
)

// Extent is what a log has.
type Extent struct {
	// First is the index of the first entry, 0 where there is none.
	First uint64
	// Last is where the log ends, zero where it is empty or its end can't be read.
	Last Position
	// EndKnown says that no entry behind Last can have been acknowledged, as far as the files
	// tell.
	EndKnown bool
}

// checkSegments reads every batch of the log. A batch at the very end that is not complete is
// what a crash leaves; it is cut off. Everything else that does not match its checksum is
// damage, for what follows it was written after it had been made durable.
func checkSegments(dir string, s types.PersistentState) (Extent, error) {
	x := Extent{EndKnown: true}
	var failed error
	next := uint64(0)
	for i, info := range s.Segments {
		last := i == len(s.Segments)-1
		path := filepath.Join(dir, segment.FileName(info))
		sealed := !info.SealTime.IsZero()
		w, err := walk(path, info, sealed)
		if errors.Is(err, fs.ErrNotExist) && last && !sealed {
			break // Named in the metadata, and never written to.
		}
		if err == nil && next > 0 && info.BaseIndex != next {
			err = &durable.Damage{Path: path, Offset: 8, Reason: fmt.Sprintf("it begins at entry %d and should at %d", info.BaseIndex, next)}
		}
		end := info.BaseIndex + w.entries // Behind the last entry.
		if sealed {
			if err == nil && end <= info.MaxIndex {
				err = &durable.Damage{Path: path, Offset: w.end, Reason: fmt.Sprintf("it ends before entry %d and should have %d", end, info.MaxIndex)}
			}
			next = info.MaxIndex + 1
		}
		if err != nil && failed == nil {
			failed = err
		}
		x.EndKnown = x.EndKnown && (w.endKnown || !last)
		if w.last.Index >= info.MinIndex && w.last.Index > 0 {
			if x.First == 0 {
				x.First = info.MinIndex
			}
			x.Last = w.last
			if sealed && x.Last.Index > info.MaxIndex {
				// Its end was cut off; the term may be that of what was cut, which is
				// never older.
				x.Last.Index = info.MaxIndex
			}
		}
	}
	return x, failed
}

// walked is what walk found in a segment.
type walked struct {
	entries  uint64
	last     Position
	end      int64
	endKnown bool
}

// walk reads a segment's batches.
func walk(path string, info types.SegmentInfo, sealed bool) (w walked, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(f)
	if err != nil {
		return w, &durable.Damage{Path: path, Offset: -1, Reason: "it can't be read", Err: err}
	}
	w.endKnown = true
	batch := int64(0) // The first batch's checksum covers the header.
	for {
		n, entries, last, ok := oneBatch(b, batch, &info)
		if !ok {
			break
		}
		w.entries += entries
		if entries > 0 {
			w.last = last
		}
		batch = n
	}
	w.end = batch
	if sealed && w.entries > info.MaxIndex-info.BaseIndex {
		return w, nil // What may follow is of no use to anybody.
	}
	rest := firstNonZero(b, batch)
	if rest < 0 {
		return w, nil
	}
	reason := "a batch of entries does not match its checksum, and others follow it"
	for at := (batch + frameHeader) &^ (frameHeader - 1); ; at += frameHeader {
		if at+frameHeader > int64(len(b)) {
			if !sealed {
				return w, cut(f, batch, int64(len(b)))
			}
			reason = "the last batch of entries does not match its checksum"
			w.endKnown = false
			break
		}
		n, entries, last, ok := oneBatch(b, at, nil)
		if !ok || entries == 0 {
			continue
		}
		for ok {
			if entries > 0 {
				w.last = last
			}
			at = n
			n, entries, last, ok = oneBatch(b, at, nil)
		}
		w.endKnown = firstNonZero(b, at) < 0
		break
	}
	return w, &durable.Damage{Path: path, Offset: batch, Reason: reason}
}

// oneBatch reads the batch that begins at an offset; info is for the first one, which has the
// file's header.
func oneBatch(b []byte, begin int64, info *types.SegmentInfo) (end int64, entries uint64, last Position, ok bool) {
	at := begin
	if begin == 0 {
		if len(b) < fileHeader || info == nil ||
			binary.LittleEndian.Uint64(b) != walMagic ||
			binary.LittleEndian.Uint64(b[8:]) != info.BaseIndex ||
			binary.LittleEndian.Uint64(b[16:]) != info.ID ||
			binary.LittleEndian.Uint64(b[24:]) != info.Codec {
			return 0, 0, last, false
		}
		at = fileHeader
	}
	for {
		if at+frameHeader > int64(len(b)) {
			return 0, 0, last, false
		}
		head := b[at : at+frameHeader]
		number := binary.LittleEndian.Uint32(head[4:])
		if head[1]|head[2]|head[3] != 0 {
			return 0, 0, last, false
		}
		switch head[0] {
		case frameEntry, frameIndex:
			size := (int64(number) + frameHeader - 1) &^ (frameHeader - 1)
			if number > maxFrame || at+frameHeader+size > int64(len(b)) {
				return 0, 0, last, false
			}
			if head[0] == frameEntry {
				entries++
				last = position(b[at+frameHeader : at+frameHeader+int64(number)])
			}
			at += frameHeader + size
		case frameCommit:
			if at == begin || crc32.Checksum(b[begin:at], durable.Castagnoli) != number {
				return 0, 0, last, false
			}
			return at + frameHeader, entries, last, true
		default:
			return 0, 0, last, false
		}
	}
}

// position reads index and term, with which raft-wal's encoding of an entry begins.
func position(b []byte) Position {
	index, n := binary.Uvarint(b)
	if n <= 0 {
		return Position{}
	}
	term, _ := binary.Uvarint(b[n:])
	return Position{Term: term, Index: index}
}

func firstNonZero(b []byte, from int64) int64 {
	var zeros [4096]byte
	for from < int64(len(b)) {
		n := min(int64(len(zeros)), int64(len(b))-from)
		if string(b[from:from+n]) != string(zeros[:n]) {
			return from
		}
		from += n
	}
	return -1
}

// cut makes everything from an offset on zero, durably.
func cut(f *os.File, from, size int64) error {
	if err := f.Truncate(from); err != nil {
		return fmt.Errorf("cutting off an unfinished batch: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("cutting off an unfinished batch: %w", err)
	}
	return f.Sync()
}
