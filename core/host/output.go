package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept in memory of a plugin's output.
const (
	keptLines     = 200
	keptLineBytes = 2048
	panicLines    = 100
)

// output keeps what a plugin writes: the last lines in memory, the text of a panic, and
// everything in a file that is rotated once it is too large. What comes too fast is dropped,
// with a line that says how much.
type output struct {
	mu      sync.Mutex
	lines   []string // a ring once it is full
	next    int
	partial []byte
	panics  []string
	inPanic bool

	flood   flood
	unended bool // the file's last line

	path  string
	limit int64
	file  *os.File
	size  int64
}

func newOutput(path string, limit int64) (*output, error) {
	o := &output{path: path, limit: limit, flood: newFlood()}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	if err := o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *output) open() error {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("plugin log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("plugin log: %w", err)
	}
	o.file, o.size = f, st.Size()
	return nil
}

// Write implements io.Writer. It never fails: a full disk must not stop a plugin. It takes its
// time where there is more than anybody could read.
func (o *output) Write(p []byte) (int, error) {
	time.Sleep(o.flood.slowDown(len(p)))
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := p
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(rest)
		}
		o.take(rest[:end], whole)
		rest = rest[end:]
	}
	return len(p), nil
}

// take takes a piece of a line, whole where it ends the line.
func (o *output) take(piece []byte, whole bool) {
	text := bytes.TrimSuffix(piece, []byte("\n"))
	begins := len(o.partial) == 0
	if room := keptLineBytes - len(o.partial); room > 0 {
		o.partial = append(o.partial, text[:min(room, len(text))]...)
	}
	keep, lost := o.flood.admit(piece, begins, whole)
	if lost != "" {
		o.say(lost)
	}
	switch {
	case keep:
		o.unended = !whole
	case o.unended: // the rest of the line is too much
		o.store([]byte("\n"))
		o.unended = false
	}
	if !whole {
		if keep {
			o.store(piece)
		}
		return
	}
	line := string(o.partial)
	o.partial = o.partial[:0]
	switch exempt := o.partOfPanic(line); {
	case keep:
		o.store(piece)
		o.remember(line)
	case exempt:
		o.store([]byte(line + "\n"))
		o.remember(line)
	}
}

// note adds a line of the host's own.
func (o *output) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if lost := o.flood.lost(); lost != "" {
		o.say(lost)
	}
	o.say(fmt.Sprintf(format, args...))
}

// say writes a line of the host's own. Called with the lock held.
func (o *output) say(text string) {
	line := "time=" + time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + " level=INFO source=host msg=" + fmt.Sprintf("%q", text)
	o.store([]byte(line + "\n"))
	o.remember(line)
}

// partOfPanic keeps the text of the first panic, and reports whether the line is of it.
func (o *output) partOfPanic(line string) bool {
	if !o.inPanic && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		o.panics, o.inPanic = nil, true
	}
	if !o.inPanic || len(o.panics) >= panicLines {
		return false
	}
	o.panics = append(o.panics, line)
	return true
}

func (o *output) remember(line string) {
	if len(o.lines) < keptLines {
		o.lines = append(o.lines, line)
		return
	}
	o.lines[o.next] = line
	o.next = (o.next + 1) % keptLines
}

func (o *output) store(p []byte) {
	if o.file == nil {
		return
	}
	if o.size+int64(len(p)) > o.limit && o.size > 0 {
		_ = o.file.Close()
		o.file = nil
		if os.Rename(o.path, o.path+".1") != nil || o.open() != nil {
			return
		}
	}
	n, _ := o.file.Write(p)
	o.size += int64(n)
}

// started begins the output of a new process.
func (o *output) started() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.panics, o.inPanic = nil, false
}

// tail returns the last n lines, and the text of a panic since started.
func (o *output) tail(n int) (lines []string, panicText string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]string, 0, len(o.lines)+1)
	all = append(all, o.lines[o.next:]...)
	all = append(all, o.lines[:o.next]...)
	if len(o.partial) > 0 {
		all = append(all, string(o.partial))
	}
	if len(all) > n {
		all = all[len(all)-n:]
	}
	return all, strings.Join(o.panics, "\n")
}

// droppedBytes is how many bytes were too much to keep.
func (o *output) droppedBytes() int64 { return o.flood.dropped.Load() }

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}
