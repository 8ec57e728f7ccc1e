package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 4096
	maxWrite  = 1 << 20
)

// Crash says how a power failure takes things back.
type Crash struct {
	Seed uint64 `json:"seed"`
	// Lose is the chance of each block that was not synced to be gone.
	Lose float64 `json:"lose"`
}

// journal knows how to take back what was not synced.
//
// Files: the blocks as they were when the file was last synced, kept at their first change
// since. Folders: creations, removals and renames in their order, of which a crash keeps a
// beginning, as file systems with a journal do. Syncing a folder commits all changes up to
// the last one in it; syncing a file commits all so far, as the journals of ext4 and xfs do,
// or in strict mode none: POSIX promises none.
type journal struct {
	trash string

	mu      sync.Mutex
	files   map[uint64]*unsynced
	entries []entry
	next    int
	// strict commits nothing of folders by an fsync of a file.
	strict bool
}

// unsynced is what a file was when it was synced.
type unsynced struct {
	file   *os.File
	size   int64
	blocks map[int64][]byte
}

// entry is a change of a folder, or of two.
type entry struct {
	folders []string
	undo    func() error
	forget  func()
}

func newJournal(trash string, strict bool) *journal {
	return &journal{trash: trash, strict: strict, files: map[uint64]*unsynced{}}
}

// changing notes that the bytes of an open file from off to end are about to change (end
// -1: to its end). The caller holds mu.
func (j *journal) changing(fd int, off, end int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	u := j.files[st.Ino]
	if u == nil {
		// By the descriptor, whatever its name is now and whether it may be written.
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		u = &unsynced{file: f, size: st.Size, blocks: map[int64][]byte{}}
		j.files[st.Ino] = u
	}
	if end < 0 || end > st.Size {
		end = max(st.Size, off)
	}
	// What is behind the durable size is not worth keeping.
	end = min(end, u.size)
	for at := off / blockSize * blockSize; at < end; at += blockSize {
		if data, err := unix.Seek(int(u.file.Fd()), at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			// Holes to the end: zeros, which a missing block is restored as.
			j.holes(u, at, end)
			break
		} else if err == nil && data >= at+blockSize {
			next := min(data/blockSize*blockSize, (end+blockSize-1)/blockSize*blockSize)
			j.holes(u, at, next)
			at = next - blockSize
			continue
		}
		if _, ok := u.blocks[at]; ok {
			continue
		}
		b := make([]byte, blockSize)
		n, err := u.file.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		u.blocks[at] = b[:n]
	}
	return nil
}

// holes notes that blocks were holes. One that no single write can fill needs no notes:
// changing is called again for what is written there.
func (j *journal) holes(u *unsynced, from, to int64) {
	if to-from > maxWrite+blockSize {
		return
	}
	for at := from; at < to; at += blockSize {
		if _, ok := u.blocks[at]; !ok {
			u.blocks[at] = nil
		}
	}
}

// synced notes that a file is durable as it is now.
func (j *journal) synced(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if u := j.files[st.Ino]; u != nil {
		delete(j.files, st.Ino)
		if err := u.file.Close(); err != nil {
			return err
		}
	}
	if !j.strict {
		j.commit(func(entry) bool { return true })
	}
	return nil
}

// folderSynced commits the changes up to the last in folder.
func (j *journal) folderSynced(folder string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commit(func(e entry) bool { return slices.Contains(e.folders, folder) })
}

func (j *journal) commit(of func(entry) bool) {
	last := -1
	for i, e := range j.entries {
		if of(e) {
			last = i
		}
	}
	for _, e := range j.entries[:last+1] {
		if e.forget != nil {
			e.forget()
		}
	}
	j.entries = slices.Delete(j.entries, 0, last+1)
}

// created notes that path was made just now. The caller holds mu.
func (j *journal) created(path string) {
	j.entries = append(j.entries, entry{
		folders: []string{filepath.Dir(path)},
		undo:    func() error { return os.Remove(path) },
	})
}

// remove takes path away so that it can come back. The caller holds mu.
func (j *journal) remove(path string) error {
	kept := j.place()
	if err := os.Rename(path, kept); err != nil {
		return err
	}
	j.entries = append(j.entries, entry{
		folders: []string{filepath.Dir(path)},
		undo:    func() error { return os.Rename(kept, path) },
		forget:  func() { _ = os.RemoveAll(kept) },
	})
	return nil
}

// rename moves path, keeping what it replaces. The caller holds mu.
func (j *journal) rename(from, to string) error {
	kept := ""
	if _, err := os.Lstat(to); err == nil {
		kept = j.place()
		// A second name keeps it while there is always something at to.
		if err := os.Link(to, kept); err != nil {
			if err = os.Rename(to, kept); err != nil { // folders
				return err
			}
		}
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	j.entries = append(j.entries, entry{
		folders: []string{filepath.Dir(from), filepath.Dir(to)},
		undo: func() error {
			if err := os.Rename(to, from); err != nil || kept == "" {
				return err
			}
			return os.Rename(kept, to)
		},
		forget: func() {
			if kept != "" {
				_ = os.RemoveAll(kept)
			}
		},
	})
	return nil
}

func (j *journal) place() string {
	j.next++
	return filepath.Join(j.trash, fmt.Sprint(j.next))
}

// crash takes back a random part of what was not synced.
func (j *journal) crash(c Crash) (Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := rand.New(rand.NewPCG(c.Seed, 1))
	var a Answer
	inodes := make([]uint64, 0, len(j.files))
	for ino := range j.files {
		inodes = append(inodes, ino)
	}
	slices.Sort(inodes)
	for _, ino := range inodes {
		blocks, lost, err := j.files[ino].crash(r, c.Lose)
		if err != nil {
			return a, err
		}
		a.Blocks += blocks
		a.LostBlocks += lost
	}
	a.Entries = len(j.entries)
	keep := 0
	if r.Float64() >= c.Lose {
		keep = r.IntN(len(j.entries) + 1)
	}
	for i := len(j.entries) - 1; i >= keep; i-- {
		if err := j.entries[i].undo(); err != nil {
			return a, fmt.Errorf("taking back a change of %v: %w", j.entries[i].folders, err)
		}
		a.LostEntries++
	}
	return a, nil
}

// crash takes back blocks of one file, and its growth or cut.
func (u *unsynced) crash(r *rand.Rand, lose float64) (blocks, lost int, err error) {
	st, err := u.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	now, size := st.Size(), st.Size()
	if r.Float64() < lose {
		size = u.size
		if err := u.file.Truncate(size); err != nil {
			return 0, 0, err
		}
	}
	offsets := make([]int64, 0, len(u.blocks))
	for at := range u.blocks {
		offsets = append(offsets, at)
	}
	slices.Sort(offsets)
	// Blocks behind the durable size that were written since have no copy: they were
	// zeros, and may be again.
	for at := (u.size + blockSize - 1) / blockSize * blockSize; at < size && at < now; at += blockSize {
		data, err := unix.Seek(int(u.file.Fd()), at, unix.SEEK_DATA)
		if err != nil {
			break
		}
		at = data / blockSize * blockSize
		offsets = append(offsets, at)
	}
	for _, at := range offsets {
		blocks++
		if at >= size || (at < now && r.Float64() >= lose) {
			continue
		}
		b := make([]byte, blockSize)
		copy(b, u.blocks[at])
		if _, err := u.file.WriteAt(b[:min(blockSize, size-at)], at); err != nil {
			return blocks, lost, err
		}
		lost++
	}
	return blocks, lost, u.file.Close()
}
