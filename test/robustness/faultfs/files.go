package main

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or folder. What it does not say itself goes to the folder below.
type node struct {
	fs.LoopbackNode
	disk *disk
}

func newRoot(backing string, d *disk) (fs.InodeEmbedder, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return nil, err
	}
	data := &fs.LoopbackRoot{Path: backing, Dev: st.Dev}
	data.NewNode = func(root *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{fs.LoopbackNode{RootData: root}, d}
	}
	root := data.NewNode(data, nil, "", &st)
	data.RootNode = root
	return root, nil
}

func (n *node) path() string { return filepath.Join(n.RootData.Path, n.Path(n.Root())) }

// changed runs what changes folders, with the journal locked.
func (n *node) changed(do func(*journal) error) syscall.Errno {
	if errno := n.disk.mayWrite(false); errno != 0 {
		return errno
	}
	j := n.disk.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return fs.ToErrno(do(j))
}

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := n.LoopbackNode.Statfs(ctx, out)
	if f, _ := n.disk.get(); f.Free >= 0 {
		out.Bavail = uint64(f.Free) / uint64(out.Bsize)
		out.Bfree = out.Bavail
	}
	return errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (in *fs.Inode, errno syscall.Errno) {
	e := n.changed(func(j *journal) error {
		if in, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out); errno != 0 {
			return errno
		}
		j.created(filepath.Join(n.path(), name))
		return nil
	})
	return in, e
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (in *fs.Inode, errno syscall.Errno) {
	e := n.changed(func(j *journal) error {
		if in, errno = n.LoopbackNode.Symlink(ctx, target, name, out); errno != 0 {
			return errno
		}
		j.created(filepath.Join(n.path(), name))
		return nil
	})
	return in, e
}

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (in *fs.Inode, errno syscall.Errno) {
	e := n.changed(func(j *journal) error {
		if in, errno = n.LoopbackNode.Mknod(ctx, name, mode, dev, out); errno != 0 {
			return errno
		}
		j.created(filepath.Join(n.path(), name))
		return nil
	})
	return in, e
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (in *fs.Inode, errno syscall.Errno) {
	t, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	e := n.changed(func(j *journal) error {
		path := filepath.Join(n.path(), name)
		if err := syscall.Link(t.path(), path); err != nil {
			return err
		}
		j.created(path)
		return nil
	})
	if e != 0 {
		return nil, e
	}
	return n.Lookup(ctx, name, out)
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.changed(func(j *journal) error { return j.remove(filepath.Join(n.path(), name)) })
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.changed(func(j *journal) error {
		path := filepath.Join(n.path(), name)
		if empty, err := isEmpty(path); err != nil {
			return err
		} else if !empty {
			return syscall.ENOTEMPTY
		}
		return j.remove(path)
	})
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*node)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	return n.changed(func(j *journal) error {
		return j.rename(filepath.Join(n.path(), name), filepath.Join(to.path(), newName))
	})
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (in *fs.Inode, fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	e := n.changed(func(j *journal) error {
		path := filepath.Join(n.path(), name)
		fd, err := syscall.Open(path, int(flags)&^syscall.O_APPEND&^unix.O_DIRECT|syscall.O_CREAT|syscall.O_CLOEXEC, mode)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			return err
		}
		j.created(path)
		out.FromStat(&st)
		fh = &file{fd: fd, disk: n.disk}
		return nil
	})
	if e != 0 {
		return nil, nil, 0, e
	}
	var entry fuse.EntryOut
	if in, errno = n.Lookup(ctx, name, &entry); errno != 0 {
		return nil, nil, 0, errno
	}
	return in, fh, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fd, err := syscall.Open(n.path(), int(flags)&^(syscall.O_APPEND|syscall.O_TRUNC|unix.O_DIRECT)|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	f := &file{fd: fd, disk: n.disk}
	if flags&syscall.O_TRUNC != 0 {
		if errno := f.truncate(0); errno != 0 {
			_ = syscall.Close(fd)
			return nil, 0, errno
		}
	}
	return f, fuse.FOPEN_KEEP_CACHE, 0
}

// Setattr takes sizes to the journal; the rest is as below and durable at once.
func (n *node) Setattr(ctx context.Context, fh fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		f, ok := fh.(*file)
		if !ok {
			fd, err := syscall.Open(n.path(), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			if err != nil {
				return fs.ToErrno(err)
			}
			defer func() { _ = syscall.Close(fd) }()
			f = &file{fd: fd, disk: n.disk}
		}
		if errno := f.truncate(int64(size)); errno != 0 {
			return errno
		}
		in.Valid &^= fuse.FATTR_SIZE
	}
	if fh != nil {
		if in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER|fuse.FATTR_KILL_SUIDGID) == 0 {
			return n.Getattr(ctx, fh, out)
		}
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

func (n *node) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if f, ok := fh.(*file); ok {
		return f.Getattr(ctx, out)
	}
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

// Fsync of a folder, or of a file by its handle.
func (n *node) Fsync(_ context.Context, fh fs.FileHandle, _ uint32) syscall.Errno {
	if errno := n.disk.maySync(); errno != 0 {
		return errno
	}
	if f, ok := fh.(*file); ok {
		return fs.ToErrno(n.disk.journal.synced(f.fd))
	}
	n.disk.journal.folderSynced(n.path())
	return 0
}

// CopyFileRange is left to reads and writes.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}
