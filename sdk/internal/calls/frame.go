package calls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is a kind, a length in four bytes, the most significant first, and that many bytes: as
// messages are framed in gRPC, without HTTP/2 around it.
const frameHead = 5

// Kinds of frames.
const (
	frameMessage byte = 0
	// frameEnd is the last one, sent by who serves: a google.rpc.Status.
	frameEnd byte = 0x80
)

const (
	// leastBuffer holds what most calls take.
	leastBuffer = 8 << 10
	// mostKept of a buffer is kept for the next message.
	mostKept = 64 << 10
)

// errTooLong ends a line: what is longer than a message may be is not even looked at.
var errTooLong = errors.New("a message is larger than max")

// frameReader reads frames. What is allocated for a frame follows what has come of it: a length
// is only a claim.
type frameReader struct {
	from io.Reader
	// longest is how many bytes a frame may have.
	longest    int
	buf        []byte
	start, end int // what has come and was not used is buf[start:end]
}

// next returns the next frame, which is good until next is called again. Its error is io.EOF where
// nothing came after the last frame.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	f.settle()
	for {
		have := f.buf[f.start:f.end]
		need := frameHead
		if len(have) >= frameHead {
			size := binary.BigEndian.Uint32(have[1:frameHead])
			if uint64(size) > uint64(f.longest) { //nolint:gosec // a length is not negative
				return 0, nil, fmt.Errorf("%w: %d bytes, at most %d", errTooLong, size, f.longest)
			}
			if need += int(size); len(have) >= need {
				f.start += need
				return have[0], have[frameHead:need], nil
			}
		}
		f.room(need)
		n, err := f.from.Read(f.buf[f.end:])
		f.end += n
		switch {
		case n > 0: // an error comes again
		case errors.Is(err, io.EOF) && len(have) > 0:
			return 0, nil, io.ErrUnexpectedEOF
		case err != nil:
			return 0, nil, err //nolint:wrapcheck // io.EOF is looked for
		}
	}
}

// more reports whether something of another frame has come already.
func (f *frameReader) more() bool { return f.end > f.start }

// settle begins at the buffer's start where all was used, and lets a big buffer go.
func (f *frameReader) settle() {
	if f.start < f.end {
		return
	}
	f.start, f.end = 0, 0
	if len(f.buf) > mostKept {
		f.buf = nil
	}
}

// room makes some for what is missing of a frame of need bytes.
func (f *frameReader) room(need int) {
	have := f.end - f.start
	if f.start+need <= len(f.buf) && f.end < len(f.buf) {
		return
	}
	to := f.buf
	if size := min(need, max(leastBuffer, 2*have)); size > len(f.buf) {
		to = make([]byte, max(size, leastBuffer))
	}
	copy(to, f.buf[f.start:f.end])
	f.buf, f.start, f.end = to, 0, have
}
