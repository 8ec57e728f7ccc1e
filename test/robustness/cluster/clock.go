package cluster

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// ClockEnv names the file that a program built with Overlay's clock takes its offset from:
// nanoseconds, eight bytes, in the machine's order.
const ClockEnv = "ROBUSTNESS_CLOCK"

// clockPath has the offset of the server's clock.
func (s *Server) clockPath() string { return filepath.Join(s.dir, "clock") }

// SetClock sets how far the server's wall clock is off, now and after its next start.
func (s *Server) SetClock(offset time.Duration) error {
	f, err := os.OpenFile(s.clockPath(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := binary.NativeEndian.AppendUint64(nil, uint64(offset))
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}
