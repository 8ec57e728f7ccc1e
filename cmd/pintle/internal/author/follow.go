package author

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// followEvery is how often a log is looked at.
const followEvery = 200 * time.Millisecond

// Follow copies to w what is written to a file, from its end on, until ctx is done. It goes on
// with the next file where the log is rotated, and waits where there is none yet. With fromStart
// it begins at the beginning.
func Follow(ctx context.Context, file string, w io.Writer, fromStart bool) error {
	var f *os.File
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if f == nil {
			next, err := os.Open(file)
			switch {
			case err == nil:
				f = next
				if !fromStart {
					if _, err := f.Seek(0, io.SeekEnd); err != nil {
						return err
					}
				}
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
			fromStart = true // what comes later is new
		}
		if f != nil {
			if _, err := io.Copy(w, f); err != nil {
				return err
			}
			if moved(f, file) {
				_, err := io.Copy(w, f) // what came before it was moved
				_ = f.Close()
				f = nil
				if err != nil {
					return err
				}
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// moved reports whether file is another one by now, or was cut.
func moved(f *os.File, file string) bool {
	now, err := os.Stat(file)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	have, err := f.Stat()
	if err != nil || !os.SameFile(now, have) {
		return true
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return err == nil && at > now.Size()
}
