package host

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pintle-dev/pintle/core/host/confine"
)

// Times between two looks at the room that a plugin takes on the disk: after diskLookIdle where
// nothing was written, else as soon as diskLookMin. Who has many files is looked at less often:
// looking shall take a twentieth of a core at most.
const (
	diskLookMin   = 100 * time.Millisecond
	diskLookIdle  = time.Second
	diskLookMax   = 10 * time.Second
	diskLookShare = 20
)

// diskWatch ends a guest that keeps more on the disk than it may. Between two looks it can
// write as much as the disk takes: what is sure is that it ends soon after.
type diskWatch struct {
	once sync.Once
	end  chan struct{}
	done chan struct{}
	over bool // done says when it can be read
}

// watchDisk looks at a guest until stop is called.
func watchDisk(cell *confine.Cell, limit int64, log *slog.Logger) *diskWatch {
	w := &diskWatch{end: make(chan struct{}), done: make(chan struct{})}
	if limit <= 0 {
		close(w.done)
		return w
	}
	go func() {
		defer close(w.done)
		wait := time.NewTimer(diskLookMin)
		defer wait.Stop()
		var looked time.Time
		var before int64
		for {
			select {
			case <-w.end:
				return
			case <-wait.C:
			}
			began := time.Now()
			// What a process wrote that has ended is seen by the look that comes in any case.
			written, known := cell.Written()
			if began.Sub(looked) < diskLookIdle && (!known || written == before) {
				wait.Reset(diskLookMin)
				continue
			}
			looked, before = began, written
			used, err := cell.Disk(limit)
			switch {
			case err != nil:
				log.Warn("the room that a plugin takes is not known", "error", err)
			case used > limit:
				w.over = true
				cell.Kill()
				return
			}
			wait.Reset(min(max(diskLookShare*time.Since(began), diskLookMin), diskLookMax))
		}
	}()
	return w
}

// stop ends the watch, and reports whether it has ended the guest.
func (w *diskWatch) stop() bool {
	w.once.Do(func() { close(w.end) })
	<-w.done
	return w.over
}

// dataDir is the directory of a plugin.
func (h *Host) dataDir(plugin string) string { return filepath.Join(h.config.Dir, "plugins", plugin) }

// forgetData removes what a third party's plugin has kept.
func (s *supervisor) forgetData() error {
	if entry := s.plan.current(); entry.FirstParty() {
		return nil
	}
	if err := os.RemoveAll(s.host.dataDir(s.spec.Name)); err != nil {
		return fmt.Errorf("its directory: %w", err)
	}
	return nil
}

// roomLeft refuses to start a plugin whose directory is full: it would be ended at once.
func roomLeft(g *confine.Guest, dir string) error {
	limit := g.Limits.DiskBytes
	if limit <= 0 {
		return nil
	}
	used, err := confine.DiskUsage([]string{dir}, limit)
	if err != nil || used <= limit {
		return err //nolint:wrapcheck // names the directory
	}
	return refuse("its directory %s holds more than its limit of %s (limits.disk): remove what it does not need or raise the limit, and restart it", dir, mebibytes(limit))
}
