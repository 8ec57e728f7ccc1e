package main

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// file is an open file.
type file struct {
	fd   int
	disk *disk
}

func isEmpty(path string) (bool, error) {
	d, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if _, err = d.Readdirnames(1); errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// changed runs a change of the bytes from off to end after the journal has seen it.
func (f *file) changed(off, end int64, do func() error) syscall.Errno {
	j := f.disk.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, errno := f.disk.get(); errno != 0 {
		return errno // stopped meanwhile
	}
	if err := j.changing(f.fd, off, end); err != nil {
		return fs.ToErrno(err)
	}
	return fs.ToErrno(do())
}

// Read implements fs.FileReader.
func (f *file) Read(_ context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := unix.Pread(f.fd, buf, off)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(buf[:n]), 0
}

// Write implements fs.FileWriter.
func (f *file) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	caller, ok := fuse.FromContext(ctx)
	if errno := f.disk.mayWrite(ok && caller.Pid == 0); errno != 0 {
		return 0, errno
	}
	errno = f.changed(off, off+int64(len(data)), func() error {
		m, err := unix.Pwrite(f.fd, data, off)
		n = uint32(max(m, 0))
		return err
	})
	return n, errno
}

// Allocate implements fs.FileAllocater.
func (f *file) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.disk.mayWrite(false); errno != 0 {
		return errno
	}
	return f.changed(int64(off), int64(off+size), func() error {
		return syscall.Fallocate(f.fd, mode, int64(off), int64(size))
	})
}

func (f *file) truncate(size int64) syscall.Errno {
	if errno := f.disk.mayWrite(false); errno != 0 {
		return errno
	}
	return f.changed(size, -1, func() error { return syscall.Ftruncate(f.fd, size) })
}

// Getattr implements fs.FileGetattrer.
func (f *file) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Fstat(f.fd, &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&st)
	return 0
}

// Lseek implements fs.FileLseeker.
func (f *file) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	n, err := unix.Seek(f.fd, int64(off), int(whence))
	return uint64(n), fs.ToErrno(err)
}

// Flush implements fs.FileFlusher: closing makes nothing durable.
func (f *file) Flush(context.Context) syscall.Errno { return 0 }

// Release implements fs.FileReleaser.
func (f *file) Release(context.Context) syscall.Errno { return fs.ToErrno(syscall.Close(f.fd)) }

// folder is an open folder.
type folder struct {
	stream
	node *node
}

// stream is what reads a folder.
type stream interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, f, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	s, ok := h.(stream)
	if !ok {
		return nil, 0, syscall.ENOSYS
	}
	return &folder{s, n}, f, 0
}

// Fsyncdir implements fs.FileFsyncdirer.
func (f *folder) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return f.node.Fsync(ctx, nil, flags)
}
