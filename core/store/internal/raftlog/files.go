package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// files is the file system as raft-wal sees it, with two differences. A segment's data is
// synced without the file's times, which cost the file system a transaction. And from the
// second segment on, the next one is made ready beforehand and filled with zeros, so that
// writing to it does not have to turn allocated blocks into written ones, which costs one too.
type files struct {
	*fs.FS
	dir string

	mu sync.Mutex
	// spare is set while there is a file that is ready, making while one is being made.
	spare, making bool
	// created counts segments; closed says that no more spares are wanted.
	created int
	closed  bool
	wg      sync.WaitGroup
}

// spareFile is the segment that is ready. It is of no use to another process.
const spareFile = "spare"

func newFiles(dir string) *files {
	_ = os.Remove(filepath.Join(dir, spareFile))
	return &files{FS: fs.New(), dir: dir}
}

// Create implements types.VFS.
func (v *files) Create(dir, name string, size uint64) (types.WritableFile, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.created++
	defer v.makeSpareLocked(size)
	if v.spare {
		v.spare = false
		if f, err := v.takeSpare(filepath.Join(dir, name), size); err == nil {
			return &file{File: f, dir: dir}, nil
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := preallocate(f, size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, dir: dir}, nil
}

func (v *files) takeSpare(path string, size uint64) (*os.File, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, os.ErrExist
	}
	spare := filepath.Join(v.dir, spareFile)
	fi, err := os.Stat(spare)
	if err != nil {
		return nil, err
	}
	if uint64(fi.Size()) != size {
		return nil, errors.New("it has another size")
	}
	if err := os.Rename(spare, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// makeSpareLocked begins a spare, once a log has needed a second segment.
func (v *files) makeSpareLocked(size uint64) {
	if v.created < 2 || v.spare || v.making || v.closed {
		return
	}
	v.making = true
	v.wg.Go(func() {
		err := writeZeros(filepath.Join(v.dir, spareFile), size)
		v.mu.Lock()
		defer v.mu.Unlock()
		// Without one, the next segment is made as the first was.
		v.making, v.spare = false, err == nil
	})
}

// close waits for a spare that is being made, and removes it.
func (v *files) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.wg.Wait()
	_ = os.Remove(filepath.Join(v.dir, spareFile))
}

func writeZeros(path string, size uint64) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	if err := preallocate(f, size); err != nil {
		return err
	}
	const piece = 1 << 20
	zeros := make([]byte, min(piece, size))
	for at := uint64(0); at < size; at += piece {
		if _, err := f.WriteAt(zeros[:min(piece, size-at)], int64(at)); err != nil {
			return err
		}
		// In pieces, so that those who sync the log meanwhile wait for little.
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// preallocate gives a file its size, and its blocks where the file system can.
func preallocate(f *os.File, size uint64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(size))
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINTR) {
		err = f.Truncate(int64(size))
	}
	if err != nil {
		return fmt.Errorf("allocating %d MiB for the Raft log in %s: %w", size>>20, f.Name(), err)
	}
	return nil
}

// OpenWriter implements types.VFS.
func (v *files) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &file{File: f, dir: dir}, nil
}

// file is one segment being written.
type file struct {
	*os.File
	dir string
	// named: the file's own metadata and its name in the directory are durable.
	named bool
}

// Sync implements types.WritableFile. raft-wal calls it from one goroutine at a time.
func (f *file) Sync() error {
	if !f.named {
		if err := f.File.Sync(); err != nil {
			return err
		}
		if err := syncDir(f.dir); err != nil {
			return err
		}
		f.named = true
		return nil
	}
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
