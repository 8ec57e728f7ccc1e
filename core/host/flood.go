package host

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of a plugin's output in a second. What is more than is kept is dropped, for a while;
// who writes more than is read is slowed down, as throwing away takes its host's CPU too. Each
// write counts as writeCost bytes more, for what it takes to read a line.
const (
	keptBytesPerSecond = 256 << 10
	keptBurst          = 1 << 20
	readBytesPerSecond = 4 << 20
	readBurst          = 1 << 20
	writeCost          = 64
	// muted is how long all is dropped once it is too much: the gap is one, and said once.
	muted = time.Second
	// leastSleep is what a delay must come to before anybody sleeps.
	leastSleep = time.Millisecond
)

// flood bounds what is kept and read of a plugin's output.
type flood struct {
	keep, read *rate.Limiter

	// dropped counts all bytes that were.
	dropped atomic.Int64

	// The rest is guarded by its output's lock.
	until      time.Time // while all is dropped
	dropping   bool      // the present line
	bytes, num int       // dropped, and the lines they ended, since that was last said
}

func newFlood() flood {
	return flood{
		keep: rate.NewLimiter(keptBytesPerSecond, keptBurst),
		read: rate.NewLimiter(readBytesPerSecond, readBurst),
	}
}

// slowDown says how long to wait before n bytes are looked at.
func (f *flood) slowDown(n int) time.Duration {
	r := f.read.ReserveN(time.Now(), min(n+writeCost, readBurst))
	if d := r.Delay(); d >= leastSleep {
		return d
	}
	return 0
}

// admit decides about a piece of a line, which begins or ends it or both. Where what was
// dropped is to be said before it, lost says so.
func (f *flood) admit(piece []byte, begins, ends bool) (keep bool, lost string) {
	now := time.Now()
	if begins {
		f.dropping = now.Before(f.until)
		if !f.dropping {
			lost = f.lost()
		}
	}
	if !f.dropping && !f.keep.AllowN(now, min(len(piece), keptBurst)) {
		f.dropping, f.until = true, now.Add(muted)
	}
	if f.dropping {
		f.bytes += len(piece)
		f.dropped.Add(int64(len(piece)))
		if ends {
			f.num++
		}
	}
	return !f.dropping, lost
}

// lost says what was dropped since it was last said, or nothing.
func (f *flood) lost() string {
	if f.bytes == 0 {
		return ""
	}
	text := fmt.Sprintf("dropped %d bytes in %d lines: the plugin writes more than %d KiB a second", f.bytes, f.num, keptBytesPerSecond>>10)
	f.bytes, f.num = 0, 0
	return text
}
