package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// followEvery is how often the log of a plugin is looked at by those who follow it.
const followEvery = 200 * time.Millisecond

// maxTail bounds how much of a log file is read to find its last lines.
const maxTail = 8 << 20

// ServeLog answers with what a plugin of this host wrote, as plain text. The query is that of
// pods/log: tailLines, and follow, which goes on until the client leaves.
func (h *Host) ServeLog(w http.ResponseWriter, r *http.Request, name string) error {
	s, err := h.plugin(name)
	if err != nil {
		return apierrors.NewNotFound(Resource().GroupResource(), name)
	}
	tail := -1
	if v := r.URL.Query().Get("tailLines"); v != "" {
		if tail, err = strconv.Atoi(v); err != nil || tail < 0 {
			return apierrors.NewBadRequest(fmt.Sprintf("tailLines: %q is not a number of lines", v))
		}
	}
	follow, _ := strconv.ParseBool(r.URL.Query().Get("follow"))
	f, err := os.Open(s.out.path)
	if err != nil {
		return fmt.Errorf("log of plugin %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	if err := seekLines(f, tail); err != nil {
		return fmt.Errorf("log of plugin %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if n, err := io.Copy(w, f); err != nil {
			return nil // the client has left; there is nobody to tell
		} else if n > 0 {
			_ = flush.Flush()
		}
		if !follow {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stopped:
			follow = false // once more, and that is all
		case <-tick.C:
		}
		if next, ok := rotated(f, s.out.path); ok {
			if _, err := io.Copy(w, f); err != nil {
				_ = next.Close()
				return nil // as above
			}
			_ = f.Close()
			f = next
		}
	}
}

// rotated opens the file that has taken the place of f, if one has.
func rotated(f *os.File, path string) (*os.File, bool) {
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

// seekLines goes to the beginning of the last n lines; a negative n to the beginning.
func seekLines(f *os.File, n int) error {
	if n < 0 {
		return nil
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	size := min(end, maxTail)
	last := make([]byte, size)
	if _, err := f.ReadAt(last, end-size); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at := len(bytes.TrimSuffix(last, []byte("\n")))
	if n == 0 {
		return nil
	}
	for range n {
		at = bytes.LastIndexByte(last[:at], '\n')
		if at < 0 {
			break
		}
	}
	_, err = f.Seek(end-size+int64(at)+1, io.SeekStart)
	return err
}
