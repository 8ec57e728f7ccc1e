package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/cluster"
)

var operators = []Fault{
	{Name: "transfer", Servers: 3, Weight: 3, Do: transfer},
	{Name: "replacement", Servers: 3, Weight: 2, Do: replacement},
	{Name: "bit flips", Servers: 3, Weight: 2, Do: bitFlips},
}

func transfer(ctx context.Context, e *Env) error {
	for range 1 + e.Rand.IntN(3) {
		to := e.Cluster.Servers[e.Rand.IntN(len(e.Cluster.Servers))]
		e.Note("transfer to " + to.Name)
		within, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := e.Cluster.Transfer(within, to)
		cancel()
		if err != nil {
			e.Note("transfer: " + err.Error()) // It may be in the way of an election.
		}
		e.hold(ctx, 0, time.Second)
	}
	return e.allReady(ctx)
}

// replacement loses the disk of a server, whom a new one takes the place of.
func replacement(ctx context.Context, e *Env) error {
	if err := e.whole(ctx); err != nil {
		return err
	}
	s := e.one(ctx)
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	e.Note("lost the disk of " + s.Name)
	e.Forgot(s)
	e.hold(ctx, 0, 3*time.Second)
	return e.replace(ctx, s)
}

func (e *Env) replace(ctx context.Context, s *cluster.Server) error {
	within, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	if err := e.Cluster.Replace(within, s); err != nil {
		return fmt.Errorf("replacing %s: %w", s.Name, err)
	}
	return e.whole(ctx)
}

// whole waits until every server counts again: until then the loss of another one may be the
// loss of what only the two had.
func (e *Env) whole(ctx context.Context) error {
	if err := e.allReady(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	return e.Cluster.WaitWhole(ctx)
}

// bitFlips damages files of a server that does not run. It may repair itself from the
// others, or refuse to start: then its operator replaces it. It must serve nothing wrong,
// which the rest of the run sees.
func bitFlips(ctx context.Context, e *Env) error {
	if err := e.whole(ctx); err != nil {
		return err
	}
	s := e.one(ctx)
	if err := s.End(syscall.SIGKILL); err != nil {
		return err
	}
	e.Forgot(s)
	err := s.Disk.Offline(func(files string) error { return e.flip(s, filepath.Join(files, "data", "store")) })
	if err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	s.MayEnd()
	within, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.WaitReady(within); err == nil {
		e.Note(s.Name + " starts with the damage")
		return e.whole(ctx)
	} else if s.Running() {
		return fmt.Errorf("a damaged server neither refuses nor gets ready: %w", err)
	}
	last := s.LogTail(3)
	if strings.Contains(last, "panic") || strings.Contains(last, "goroutine") || strings.Contains(last, "SIG") {
		return errors.New("a damaged server crashes: " + s.LogTail(40))
	}
	e.Note(s.Name + " refuses: " + last)
	return e.replace(ctx, s)
}

// flip flips bits of one file in use, or of several.
func (e *Env) flip(s *cluster.Server, dir string) error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), "damaged-") {
			return fs.SkipDir // set aside, for people to look at
		}
		if !d.Type().IsRegular() || d.Name() == "LOCK" {
			return nil
		}
		if fi, err := d.Info(); err == nil && fi.Size() > 0 {
			files = append(files, path)
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		return err
	}
	for range 1 + e.Rand.IntN(3) {
		path := files[e.Rand.IntN(len(files))]
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		at, err := e.usedByte(f)
		if err == nil {
			var b [1]byte
			if _, err = f.ReadAt(b[:], at); err == nil {
				b[0] ^= 1 << e.Rand.IntN(8)
				_, err = f.WriteAt(b[:], at)
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("flipping a bit of %s: %w", path, err)
		}
		e.Note(fmt.Sprintf("flipped a bit of %s: %s at %d", s.Name, strings.TrimPrefix(path, dir+"/"), at))
	}
	return nil
}

// usedByte is the offset of a byte that is not zero, if one is found soon: files are
// allocated ahead.
func (e *Env) usedByte(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var at int64
	for range 2000 {
		at = e.Rand.Int64N(fi.Size())
		if e.Rand.IntN(2) == 0 {
			at = e.Rand.Int64N(min(fi.Size(), 64<<10))
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err == nil && b[0] != 0 {
			break
		}
	}
	return at, nil
}
