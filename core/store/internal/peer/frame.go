package peer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// A frame is: uint32 length of what follows, uint64 number of the call, one byte kind (of
// a request) or status (of an answer), and the body. Integers are big endian.
const (
	lengthBytes = 4
	headBytes   = 8 + 1
	// MaxBody bounds a frame's body: the largest entry of the log fits with room.
	MaxBody = 64 << 20
)

// Status of an answer.
const (
	statusDone byte = iota
	statusFailed
	// statusNotice is no answer: the other side says something unasked.
	statusNotice
)

type frame struct {
	call uint64
	kind byte
	body []byte
}

// frameWriter writes frames of several goroutines: what gathers while one is being written
// goes with one write.
type frameWriter struct {
	mu      sync.Mutex
	w       io.Writer
	pending []byte
	spare   []byte
	writing bool
	err     error
}

// write hands a frame to the connection, or to whoever writes to it now. An error is the
// connection's, which is of no use from then on; what was handed over before may have been
// sent.
func (w *frameWriter) write(f frame) error {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	w.pending = binary.BigEndian.AppendUint32(w.pending, uint32(headBytes+len(f.body))) //nolint:gosec // bounded by MaxBody
	w.pending = binary.BigEndian.AppendUint64(w.pending, f.call)
	w.pending = append(w.pending, f.kind)
	w.pending = append(w.pending, f.body...)
	if w.writing {
		w.mu.Unlock()
		return nil
	}
	w.writing = true
	for len(w.pending) > 0 && w.err == nil {
		out := w.pending
		w.pending = w.spare[:0]
		w.mu.Unlock()
		_, err := w.w.Write(out)
		w.mu.Lock()
		if w.spare = out; cap(out) > 1<<20 {
			w.spare = nil
		}
		w.err = err
	}
	w.writing = false
	err := w.err
	w.mu.Unlock()
	return err
}

func readFrame(r *bufio.Reader) (frame, error) {
	var head [lengthBytes + headBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < headBytes || n > MaxBody+headBytes {
		return frame{}, fmt.Errorf("a frame of %d bytes", n)
	}
	f := frame{call: binary.BigEndian.Uint64(head[lengthBytes:]), kind: head[lengthBytes+8]}
	if n == headBytes {
		return f, nil
	}
	f.body = make([]byte, n-headBytes)
	_, err := io.ReadFull(r, f.body)
	return f, err
}
