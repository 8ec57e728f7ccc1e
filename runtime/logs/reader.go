package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options say what of a log is wanted.
type Options struct {
	// Follow goes on until the log ends.
	Follow bool
	// Tail is how many of the last lines to begin with, nil for all.
	Tail *int64
	// Since leaves out what is older; the zero time is all.
	Since time.Time
	// LimitBytes ends the answer after so many bytes; nil is no limit.
	LimitBytes *int64
	// Timestamps puts the time before each line.
	Timestamps bool
	// Stream is Stdout, Stderr or "" for both.
	Stream string
}

// errLimit ends reading when LimitBytes is used up.
var errLimit = errors.New("limit reached")

// Read copies the log at path, with what was rotated away of it, to out and errOut.
// With Follow it goes on until done is closed and all is read, or the context ends. done
// may be nil where Follow is off.
func Read(ctx context.Context, path string, opts Options, done <-chan struct{}, out, errOut io.Writer) error {
	r := &reader{opts: opts, out: out, errOut: errOut, limit: -1}
	if opts.LimitBytes != nil {
		r.limit = *opts.LimitBytes
	}
	err := r.run(ctx, path, done)
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

type reader struct {
	opts        Options
	out, errOut io.Writer
	limit       int64
	// lineStart is per stream: whether the next piece begins a line of output.
	mid map[string]bool
}

func (r *reader) run(ctx context.Context, path string, done <-chan struct{}) error {
	r.mid = map[string]bool{}
	var watch *fsnotify.Watcher
	if r.opts.Follow {
		var err error
		if watch, err = fsnotify.NewWatcher(); err != nil {
			return fmt.Errorf("follow container log: %w", err)
		}
		defer watch.Close()
		// The directory, since rotation replaces the file. Watching begins before the
		// first read: nothing written in between is missed.
		if err := watch.Add(filepath.Dir(path)); err != nil {
			return fmt.Errorf("follow container log: %w", err)
		}
	}
	f, err := r.begin(path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	br := bufio.NewReaderSize(f, 64<<10)
	var pending []byte
	for {
		ended := false
		select {
		case <-done:
			ended = true
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if pending, err = r.drain(br, pending); err != nil {
			return err
		}
		if !r.opts.Follow {
			return nil
		}
		if next, ok := replaced(f, path); ok {
			// The old file is complete once it has been replaced: read its end. It ends
			// with a whole line.
			if _, err := r.drain(br, pending); err != nil {
				_ = next.Close()
				return err
			}
			_ = f.Close()
			f, pending = next, nil
			br.Reset(f)
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
		case <-watch.Events:
		case err := <-watch.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("follow container log: %w", err)
			}
		}
	}
}

// begin reads the rotated files that are wanted and returns the current one, placed
// where reading goes on.
func (r *reader) begin(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open container log: %w", err)
	}
	old, err := rotated(path)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	files := make([]*os.File, 0, len(old)+1)
	for _, p := range old {
		if o, err := os.Open(p); err == nil {
			files = append(files, o)
		}
	}
	files = append(files, f)
	first := 0
	if r.opts.Tail != nil {
		want := *r.opts.Tail
		for first = len(files) - 1; ; first-- {
			got, off, err := tailOffset(files[first], want)
			if err != nil {
				closeAll(files)
				return nil, fmt.Errorf("read container log: %w", err)
			}
			if _, err := files[first].Seek(off, io.SeekStart); err != nil {
				closeAll(files)
				return nil, fmt.Errorf("read container log: %w", err)
			}
			want -= got
			if want <= 0 || first == 0 {
				break
			}
		}
	}
	for i, o := range files[:len(files)-1] {
		if i >= first {
			if _, err := r.drain(bufio.NewReaderSize(o, 64<<10), nil); err != nil {
				closeAll(files)
				return nil, err
			}
		}
		_ = o.Close()
	}
	return f, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// drain handles all whole lines there are and returns the beginning of an unfinished one.
func (r *reader) drain(br *bufio.Reader, pending []byte) ([]byte, error) {
	for {
		chunk, err := br.ReadSlice('\n')
		pending = append(pending, chunk...)
		switch {
		case err == nil:
			if err := r.line(pending[:len(pending)-1]); err != nil {
				return nil, err
			}
			pending = pending[:0]
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return pending, nil
		default:
			return nil, fmt.Errorf("read container log: %w", err)
		}
	}
}

// line writes one log line to where it belongs. A line that is none is left out.
func (r *reader) line(line []byte) error {
	stamp, rest, ok1 := bytes.Cut(line, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	name := string(stream)
	if r.opts.Stream != "" && r.opts.Stream != name {
		return nil
	}
	if !r.opts.Since.IsZero() {
		at, err := time.Parse(time.RFC3339Nano, string(stamp))
		if err != nil || at.Before(r.opts.Since) {
			return nil //nolint:nilerr // no log line, or too old a one
		}
	}
	w := r.out
	if name == Stderr {
		w = r.errOut
	}
	whole := len(tag) > 0 && tag[0] == 'F'
	var b []byte
	if r.opts.Timestamps && !r.mid[name] {
		b = append(append(b, stamp...), ' ')
	}
	b = append(b, text...)
	if whole {
		b = append(b, '\n')
	}
	r.mid[name] = !whole
	if r.limit >= 0 && int64(len(b)) > r.limit {
		b = b[:r.limit]
	}
	if w != nil {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if r.limit >= 0 {
		if r.limit -= int64(len(b)); r.limit == 0 {
			return errLimit
		}
	}
	return nil
}

// replaced opens the file that took f's place at path, if one did.
func replaced(f *os.File, path string) (*os.File, bool) {
	have, err := f.Stat()
	if err != nil {
		return nil, false
	}
	now, err := os.Stat(path)
	if err != nil || os.SameFile(have, now) {
		return nil, false
	}
	next, err := os.Open(path)
	return next, err == nil
}

// tailOffset finds where the last n lines of a file begin, and how many there are.
func tailOffset(f *os.File, n int64) (got, offset int64, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n <= 0 {
		return 0, end, err
	}
	buf := make([]byte, 32<<10)
	pos := end
	for pos > 0 {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == end-1 {
				continue
			}
			if got++; got == n {
				return got, pos + i + 1, nil
			}
		}
	}
	if end > 0 {
		got++
	}
	return got, 0, nil
}
