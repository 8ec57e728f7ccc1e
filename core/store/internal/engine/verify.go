package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// verifyState reads the files of a state before Badger does, which takes much on trust and
// ends the process at some kinds of damage. Every block of every table is checked here. What
// the logs of memtables and the value log have is checked by what it says: each value has a
// checksum, and the set of all has one (see Meta).
func verifyState(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var tables []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".sst") {
			tables = append(tables, filepath.Join(dir, e.Name()))
		}
	}
	named, err := verifyManifest(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	if err := verifyMemtables(dir, entries); err != nil {
		return err
	}
	return verifyTables(tables, named)
}

// verifyManifest reads the list of tables; those in it must be there.
func verifyManifest(path string) (named map[string]options.CompressionType, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // A state that has just been made.
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var m badger.Manifest
	err = guarded(func() (err error) {
		m, _, err = badger.ReplayManifestFile(f, 0, badger.DefaultOptions(""))
		return err
	})
	if err != nil {
		offset, _ := f.Seek(0, io.SeekCurrent)
		return nil, &durable.Damage{Path: path, Offset: offset, Reason: "the list of tables can't be read", Err: err}
	}
	named = make(map[string]options.CompressionType, len(m.Tables))
	for id, listed := range m.Tables {
		t := filepath.Join(filepath.Dir(path), table.IDToFilename(id))
		if _, err := os.Stat(t); err != nil {
			return nil, &durable.Damage{Path: t, Offset: -1, Reason: "it is missing"}
		}
		named[t] = listed.Compression
	}
	return named, nil
}

// memHeader is what the log of a memtable begins with: the number of a key, zero without
// encryption, and random bytes.
const memHeader = 20

func verifyMemtables(dir string, entries []fs.DirEntry) error {
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if ext != ".mem" && ext != ".vlog" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		var head [memHeader]byte
		n, err := io.ReadFull(f, head[:])
		if err := errors.Join(f.Close(), ignoreEOF(err)); err != nil {
			return err
		}
		if n == memHeader && [8]byte(head[:8]) != [8]byte{} {
			return &durable.Damage{Path: path, Offset: 0, Reason: "it names a key and is not encrypted"}
		}
	}
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// verifyTables checks every block of the tables that count; the others Badger removes.
func verifyTables(paths []string, named map[string]options.CompressionType) error {
	const workers = 2
	var (
		wg    sync.WaitGroup
		queue = make(chan string, len(paths))
		errs  [workers]error
	)
	for _, p := range paths {
		if _, ok := named[p]; ok {
			queue <- p
		}
	}
	close(queue)
	for i := range workers {
		wg.Go(func() {
			var buf []byte
			for p := range queue {
				if buf, errs[i] = verifyTable(p, named[p], buf); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// verifyTable checks one table, read into buf, which it returns as it has grown.
func verifyTable(path string, compression options.CompressionType, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return buf, err
	}
	n := int(fi.Size())
	if cap(buf) < n {
		buf = make([]byte, n+n/4)
	}
	damage := func(reason string, err error) ([]byte, error) {
		return buf, &durable.Damage{Path: path, Offset: -1, Reason: reason, Err: err}
	}
	if _, err := io.ReadFull(f, buf[:n]); err != nil {
		return damage("it can't be read", err)
	}
	id, _ := table.ParseFileID(filepath.Base(path))
	err = guarded(func() error {
		t, err := table.OpenInMemoryTable(buf[:n:n], id, &table.Options{BlockSize: blockSize, Compression: compression})
		if err != nil {
			return err
		}
		return t.VerifyChecksum()
	})
	if err != nil {
		return damage("a table does not match its checksums", err)
	}
	return buf, nil
}

// guarded turns a panic, by which Badger reports some damage, into an error.
func guarded(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(fmt.Sprint(p)), "\n")
			err = fmt.Errorf("it can't be read: %s", line)
		}
	}()
	return fn()
}

// Scrub checks every table again, as a start does, and returns the damage it finds. Nothing
// waits for it.
func (e *Engine) Scrub() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil
	}
	var paths []string
	for _, t := range e.db.Tables() {
		paths = append(paths, filepath.Join(e.dir, e.name, table.IDToFilename(t.ID)))
	}
	var buf []byte
	for _, p := range paths {
		var err error
		if buf, err = verifyTable(p, options.None, buf); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
