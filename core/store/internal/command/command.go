package command

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the format that this code writes; it reads this one only.
const Version = 1

// Kind says what an entry asks for.
type Kind byte

// The kinds of entries.
const (
	// Writes is a list of guarded writes.
	Writes Kind = 1
	// Compact moves the history's horizon.
	Compact Kind = 2
	// Transaction is a list of guarded writes that are applied together or not at all.
	Transaction Kind = 3
)

// ErrVersion says that the entry was written by a newer Pintle.
var ErrVersion = errors.New("entry of an unknown format")

// errMalformed: the entry's bytes make no sense.
var errMalformed = errors.New("malformed entry")

const (
	flagDelete     = 1 << 0
	flagRevisionAt = 1 << 1
	flagCheck      = 1 << 2 // only in a transaction
	flagSealed     = 1 << 3 // only where the kind is marked by sealedMark

	flagNoted = 1 << 4 // only of a deletion, where the kind is marked by notedMark

	// sealedMark is added to the kind of an entry that has sealed objects, notedMark to that of
	// one that has deletions with a note, so that a server that does not know them stops there.
	sealedMark = 0x40
	notedMark  = 0x20

	headerLen = 2
)

// Write is one guarded write. The fields mean what store.Write's mean.
type Write struct {
	Key        string
	Data       []byte
	RevisionAt int
	Delete     bool
	Expect     int64
	// Check is a guard without a change, which only a transaction may have.
	Check bool
	// Sealed: Data is an envelope, and RevisionAt the offset in what it holds.
	Sealed bool
	// Note is what the history says of a deletion, nil for nothing.
	Note []byte
}

// Size is an upper bound of what Append adds for w.
func (w *Write) Size() int {
	return 1 + 5*binary.MaxVarintLen64 + len(w.Key) + len(w.Data) + len(w.Note)
}

// BeginWrites starts an entry of writes in dst.
func BeginWrites(dst []byte) []byte { return append(dst, Version, byte(Writes)) }

// BeginTransaction starts an entry in dst whose writes are applied together or not at all.
func BeginTransaction(dst []byte) []byte { return append(dst, Version, byte(Transaction)) }

// Append adds one write to an entry that BeginWrites or BeginTransaction has begun at the start
// of dst.
func (w *Write) Append(dst []byte) []byte {
	var flags byte
	switch {
	case w.Check:
		flags |= flagCheck
	case w.Delete:
		flags |= flagDelete
	case w.RevisionAt >= 0:
		flags |= flagRevisionAt
	}
	if w.Sealed && !w.Check && !w.Delete {
		flags |= flagSealed
		dst[1] |= sealedMark
	}
	if w.Delete && !w.Check && len(w.Note) > 0 {
		flags |= flagNoted
		dst[1] |= notedMark
	}
	dst = append(dst, flags)
	dst = binary.AppendVarint(dst, w.Expect)
	dst = binary.AppendUvarint(dst, uint64(len(w.Key)))
	dst = append(dst, w.Key...)
	if flags&flagNoted != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(w.Note)))
		return append(dst, w.Note...)
	}
	if w.Delete || w.Check {
		return dst
	}
	if flags&flagRevisionAt != 0 {
		dst = binary.AppendUvarint(dst, uint64(w.RevisionAt))
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.Data)))
	return append(dst, w.Data...)
}

// AppendCompact makes an entry that moves the horizon to revision.
func AppendCompact(dst []byte, revision uint64) []byte {
	return binary.AppendUvarint(append(dst, Version, byte(Compact)), revision)
}

// Entry is an entry being read.
type Entry struct {
	Kind Kind
	// Sealed: there may be sealed objects in it.
	Sealed bool
	// Noted: there may be deletions with a note in it.
	Noted bool
	rest  []byte
}

// Parse reads an entry's head.
func Parse(b []byte) (Entry, error) {
	if len(b) < headerLen {
		return Entry{}, fmt.Errorf("%w: %d bytes", errMalformed, len(b))
	}
	if b[0] != Version {
		return Entry{}, fmt.Errorf("%w: version %d, this server knows %d", ErrVersion, b[0], Version)
	}
	const marks = sealedMark | notedMark
	k := Kind(b[1] &^ marks)
	if k != Writes && k != Compact && k != Transaction || b[1]&marks != 0 && k == Compact {
		return Entry{}, fmt.Errorf("%w: kind %d", ErrVersion, b[1])
	}
	return Entry{Kind: k, Sealed: b[1]&sealedMark != 0, Noted: b[1]&notedMark != 0, rest: b[headerLen:]}, nil
}

// More says whether another write follows.
func (e *Entry) More() bool { return len(e.rest) > 0 }

// Next reads the next write into w, whose Data then shares the entry's bytes.
func (e *Entry) Next(w *Write) error {
	r := reader{b: e.rest}
	flags := r.byte()
	known := byte(flagDelete | flagRevisionAt)
	if e.Kind == Transaction {
		known |= flagCheck
	}
	if e.Sealed {
		known |= flagSealed
	}
	if e.Noted {
		known |= flagNoted
	}
	w.Delete, w.Check, w.Sealed = flags&flagDelete != 0, flags&flagCheck != 0, flags&flagSealed != 0
	w.Expect = r.varint()
	w.Key = string(r.bytes())
	w.RevisionAt, w.Data, w.Note = -1, nil, nil
	if flags&flagNoted != 0 {
		w.Note = r.bytes()
	}
	if !w.Delete && !w.Check {
		at := uint64(0)
		if flags&flagRevisionAt != 0 {
			at = r.uvarint()
		}
		w.Data = r.bytes()
		if at > uint64(len(w.Data)) { // An envelope is longer than what it holds.
			r.bad = true
		} else if flags&flagRevisionAt != 0 {
			w.RevisionAt = int(at)
		}
	}
	if r.bad || flags&^known != 0 || w.Check && flags != flagCheck || w.Delete && flags&^flagNoted != flagDelete || flags&flagNoted != 0 && !w.Delete {
		return fmt.Errorf("%w: write at %d bytes from the end", errMalformed, len(e.rest))
	}
	e.rest = r.b
	return nil
}

// Revision reads what a Compact entry carries.
func (e *Entry) Revision() (uint64, error) {
	r := reader{b: e.rest}
	v := r.uvarint()
	if r.bad || len(r.b) != 0 {
		return 0, fmt.Errorf("%w: compaction", errMalformed)
	}
	return v, nil
}

// reader takes values off the front of b; bad sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if r.bad || len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
