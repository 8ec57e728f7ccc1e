package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// MaxLine is the longest piece of output in one log line, in bytes; what is longer is
// cut into partial lines.
const MaxLine = 16 * 1024

// Stream names of the format.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// timeFormat is RFC 3339 with all nine digits, so that lines sort as text.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// WriterConfig bounds a log.
type WriterConfig struct {
	// MaxSize of a file in bytes, after which it is rotated: 10 MiB by default.
	MaxSize int64
	// MaxFiles including the one being written: 5 by default.
	MaxFiles int
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Writer appends to one container's log. It may be used concurrently.
type Writer struct {
	cfg  WriterConfig
	path string

	mu sync.Mutex
	// file is nil after Close, and after a rotation that failed halfway.
	file   *os.File
	closed bool
	size   int64
	buf    bytes.Buffer
}

// NewWriter opens (or goes on with) the log at path.
func NewWriter(path string, cfg WriterConfig) (*Writer, error) {
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 10 << 20
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Writer{cfg: cfg, path: path}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open container log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open container log: %w", err)
	}
	w.file, w.size = f, st.Size()
	return nil
}

// WriteLine appends one piece of output. A partial piece is one whose line goes on.
func (w *Writer) WriteLine(stream string, line []byte, partial bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return os.ErrClosed
	}
	if w.file == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	w.buf.Reset()
	w.buf.Write(w.cfg.Now().UTC().AppendFormat(w.buf.AvailableBuffer(), timeFormat))
	w.buf.WriteByte(' ')
	w.buf.WriteString(stream)
	if partial {
		w.buf.WriteString(" P ")
	} else {
		w.buf.WriteString(" F ")
	}
	w.buf.Write(line)
	w.buf.WriteByte('\n')
	// A file ends with a whole line, so that a reader can join partial ones in one file.
	if w.size > 0 && w.size+int64(w.buf.Len()) > w.cfg.MaxSize {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	n, err := w.file.Write(w.buf.Bytes())
	w.size += int64(n)
	return err
}

// rotate moves the file aside and begins a new one, under w.mu.
func (w *Writer) rotate() error {
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("rotate container log: %w", err)
	}
	aside := w.path + "." + w.cfg.Now().UTC().Format("20060102-150405.000000000")
	if err := os.Rename(w.path, aside); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("rotate container log: %w", err)
	}
	old, err := rotated(w.path)
	if err != nil {
		return err
	}
	for len(old) > w.cfg.MaxFiles-1 {
		_ = os.Remove(old[0]) // one that stays is found again at the next rotation
		old = old[1:]
	}
	return w.open()
}

// Close ends writing. Closing twice is no error.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// rotated lists the files that were moved aside, oldest first.
func rotated(path string) ([]string, error) {
	old, err := filepath.Glob(globEscape(path) + ".*")
	if err != nil {
		return nil, fmt.Errorf("list rotated logs of %s: %w", path, err)
	}
	sort.Strings(old)
	return old, nil
}

func globEscape(s string) string {
	var b bytes.Buffer
	for _, r := range s {
		switch r {
		case '*', '?', '[', '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Splitter cuts a byte stream into log lines and writes them. It is one stream's and not
// for concurrent use.
type Splitter struct {
	w      *Writer
	stream string
	rest   []byte
}

// NewSplitter makes a Splitter for one stream of a log.
func NewSplitter(w *Writer, stream string) *Splitter { return &Splitter{w: w, stream: stream} }

// Write takes output as it comes. It never keeps p.
func (s *Splitter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i >= 0 && len(s.rest)+i <= MaxLine {
			line := p[:i]
			if len(s.rest) > 0 {
				s.rest = append(s.rest, line...)
				line = s.rest
			}
			if err := s.w.WriteLine(s.stream, line, false); err != nil {
				return n - len(p), err
			}
			s.rest, p = s.rest[:0], p[i+1:]
			continue
		}
		take := min(len(p), MaxLine-len(s.rest))
		s.rest, p = append(s.rest, p[:take]...), p[take:]
		if len(s.rest) == MaxLine && len(p) > 0 && p[0] != '\n' {
			if err := s.w.WriteLine(s.stream, s.rest, true); err != nil {
				return n - len(p), err
			}
			s.rest = s.rest[:0]
		}
	}
	return n, nil
}

// Flush writes what has come of an unfinished line; the stream has ended.
func (s *Splitter) Flush() error {
	if len(s.rest) == 0 {
		return nil
	}
	err := s.w.WriteLine(s.stream, s.rest, true)
	s.rest = s.rest[:0]
	return err
}
