package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
)

// ErrCompacted says that the version asked for is no longer kept.
var ErrCompacted = errors.New("version has been compacted")

// Engine is the state on disk. Its methods may be called from any goroutine, Commit and
// Replace from one at a time.
type Engine struct {
	dir  string
	log  *slog.Logger
	lock *os.File
	// trusted says that what was written without fsync before this start is there.
	trusted atomic.Bool
	// last is the mark of the run before, logEnd what this one's will have.
	last      run
	logEnd    atomic.Uint64
	abandoned bool
	// format is that of the directory; bare: CURRENT has it in the first one.
	format int
	bare   bool

	// mu is held for reading while db is used and for writing while it is replaced.
	mu   sync.RWMutex
	name string
	db   *badger.DB

	pinMu sync.Mutex
	// discard is the revision up to which the state machine allows old versions to go,
	// pins the revisions that a snapshot still needs.
	discard uint64
	pins    map[uint64]int

	// opener opens sealed values; see SetOpener.
	opener Opener

	// written counts the bytes of objects.
	written atomic.Uint64

	// spans and notes are unset where there are certainly none of transactions and deletions.
	spans, notes atomic.Bool
}

// Open locks dir and opens the state in it, making an empty one where there is none.
func Open(dir string, log *slog.Logger) (_ *Engine, err error) {
	e := &Engine{dir: dir, log: log, pins: map[uint64]int{}}
	if e.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.lock.Close()
		}
	}()
	if e.format, err = readFormat(dir); err != nil {
		return nil, err
	}
	if e.format == 0 {
		// The first thing in a new directory, so that nothing else is ever without it.
		if err := writeFormat(dir); err != nil {
			return nil, err
		}
		e.format = Format
	}
	if e.name, e.bare, err = current(dir); err != nil {
		return nil, err
	}
	if err := removeOthers(dir, e.name); err != nil {
		return nil, fmt.Errorf("cleaning %s: %w", dir, err)
	}
	var trusted bool
	if e.last, trusted, err = lastRun(dir); err != nil {
		return nil, fmt.Errorf("store directory %s: %w", dir, err)
	}
	e.spans.Store(true)
	e.notes.Store(true)
	fresh := e.name == ""
	if fresh {
		e.name = following("")
	} else if err := e.verify(); err != nil {
		return nil, err
	}
	e.trusted.Store(trusted || fresh)
	if err := startRun(dir, trusted || fresh); err != nil {
		return nil, fmt.Errorf("store directory %s: %w", dir, err)
	}
	if e.db, err = openBadger(filepath.Join(dir, e.name), log); err != nil {
		return nil, err
	}
	if fresh {
		if err := setCurrent(dir, e.name); err != nil {
			_ = e.db.Close()
			return nil, err
		}
	}
	return e, nil
}

// verify checks the files of the state before Badger opens them.
func (e *Engine) verify() error {
	path := filepath.Join(e.dir, e.name)
	if err := e.last.compare(path); err != nil {
		return err
	}
	if err := dropUnborn(path); err != nil {
		return err
	}
	return verifyState(path)
}

// openBadger opens one state directory. The sizes are for a control plane: little memory
// when idle, objects of a few KiB that live in the tree itself.
func openBadger(dir string, log *slog.Logger) (db *badger.DB, err error) {
	defer func() {
		// Badger reports some kinds of damage by panicking.
		if p := recover(); p != nil {
			db, err = nil, &durable.Damage{Path: dir, Offset: -1, Reason: fmt.Sprint(p)}
		}
	}()
	opts := badger.DefaultOptions(dir).
		WithLogger(badgerLogger{log.With("component", "badger")}).
		WithSyncWrites(false).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		// Of the versions at or below the discard timestamp the newest is kept; above it
		// all are.
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTableSize).
		WithNumMemtables(numMemTables).
		WithBaseTableSize(baseTableSize).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(64 << 20).
		WithNumCompactors(2).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumLevelZeroTablesStall(4 * levelZeroTables).
		WithBlockSize(blockSize).
		WithCompression(options.None). // Values come packed.
		WithBlockCacheSize(blockCacheSize).
		WithIndexCacheSize(0).
		WithNumGoroutines(2)
	opts.LmaxCompaction = true
	if db, err = badger.OpenManaged(opts); err != nil {
		if errno := syscall.Errno(0); !errors.As(err, &errno) {
			return nil, &durable.Damage{Path: dir, Offset: -1, Reason: "the state can't be opened", Err: err}
		}
		return nil, fmt.Errorf("opening the state in %s: %w", dir, err)
	}
	return db, nil
}

// Badger keeps the buffers of its last eight table builders, each grown to what the largest
// table needed, rounded up to a power of two. So memtables and tables are small. But each table
// that is built also costs an index buffer of 3 MiB, so they are not smaller than that, and
// many tables are gathered before they are merged. The tables' pages count as memory until the
// system wants them. Values come packed (pods to a sixth), so that all of this is about a sixth
// of what clients write.
const (
	memTableSize    = 1 << 20
	numMemTables    = 4
	levelZeroTables = 32
	baseTableSize   = 512 << 10
	blockSize       = 16 << 10
	blockCacheSize  = 4 << 20
	// valueThreshold is from where on a value goes to the value log; Badger wants it
	// below 15 % of a memtable.
	valueThreshold = 64 << 10
)

// Trusted says whether Meta, which is written without fsync, may be believed. If not, the
// state of the last Sync is what counts and everything behind it is written again.
func (e *Engine) Trusted() bool { return e.trusted.Load() }

// Trust says that everything behind the last Sync has been written again, and meta is what the
// state has come to: from here on what this process writes is believed after it was killed.
func (e *Engine) Trust(meta Meta) error {
	// What was there before may have come further on paper.
	if err := e.SaveMeta(meta); err != nil {
		return err
	}
	if err := startRun(e.dir, true); err != nil {
		return err
	}
	e.trusted.Store(true)
	return nil
}

// Abandon says that the store was not opened after all: Close leaves the mark of the last run,
// which has what tells of damage.
func (e *Engine) Abandon() { e.abandoned = true }

func (e *Engine) endRun() error {
	if !e.abandoned || e.last.Boot == "" {
		return endRun(e.dir, e.name, e.logEnd.Load(), e.trusted.Load() && !e.abandoned)
	}
	last := e.last
	last.Files = nil // Badger may have changed some.
	return writeRun(filepath.Join(e.dir, runFile), last)
}

// LastLog is the index at which the Raft log ended when the store was closed; 0 where that is
// not known.
func (e *Engine) LastLog() uint64 { return e.last.Log }

// NoteLog says at which index the Raft log ends when the store is closed.
func (e *Engine) NoteLog(index uint64) { e.logEnd.Store(index) }

// Path is the directory of the state.
func (e *Engine) Path() string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return filepath.Join(e.dir, e.name)
}

// Close makes everything durable and releases the directory.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.db == nil {
		return nil
	}
	path := filepath.Join(e.dir, e.name)
	left, err := closeBadger(e.db, path, closing)
	e.db = nil
	if left {
		return err // the lock ends with the process
	}
	if err == nil {
		err = syncFiles(path)
	}
	if err == nil {
		err = e.endRun()
	}
	return errors.Join(err, e.lock.Close())
}

// Meta reads how far the state has come; zero in a new one.
func (e *Engine) Meta() (Meta, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return readMeta(e.db)
}

func readMeta(db *badger.DB) (Meta, error) {
	txn := db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	it, err := txn.Get(metaKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return Meta{}, nil
	}
	if err != nil {
		return Meta{}, fmt.Errorf("reading the state's metadata: %w", err)
	}
	var m Meta
	err = it.Value(func(b []byte) (err error) {
		m, err = decodeMeta(b)
		return err
	})
	return m, err
}

// Sync makes everything committed durable. The log may be cut only after it.
func (e *Engine) Sync() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return badger.ErrDBClosed
	}
	if err := e.db.Sync(); err != nil {
		return fmt.Errorf("syncing the state: %w", err)
	}
	return syncFiles(filepath.Join(e.dir, e.name))
}

// SetDiscard allows versions that are older than the newest at revision to go.
func (e *Engine) SetDiscard(revision uint64) {
	e.forget(revision)
	e.pinMu.Lock()
	defer e.pinMu.Unlock()
	e.discard = max(e.discard, revision)
	e.applyDiscardLocked()
}

// Pin keeps the state at revision readable until the returned function is called.
func (e *Engine) Pin(revision uint64) (release func()) {
	e.pinMu.Lock()
	defer e.pinMu.Unlock()
	e.pins[revision]++
	return sync.OnceFunc(func() {
		e.pinMu.Lock()
		defer e.pinMu.Unlock()
		if e.pins[revision]--; e.pins[revision] == 0 {
			delete(e.pins, revision)
		}
		e.applyDiscardLocked()
	})
}

func (e *Engine) applyDiscardLocked() {
	ts := e.discard
	for r := range e.pins {
		ts = min(ts, r)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db != nil {
		e.db.SetDiscardTs(ts)
	}
}

// TableBytes is what the tables occupy, without memtables and the value log.
func (e *Engine) TableBytes() (n int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return 0
	}
	for _, l := range e.db.Levels() {
		n += l.Size
	}
	return n
}

// Merge merges all tables, which drops the versions that may go. Badger does so only as new ones
// come in. Writes go on meanwhile; closing and replacing wait.
func (e *Engine) Merge() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil
	}
	return e.db.Flatten(1)
}

// CollectGarbage rewrites value-log files that are mostly dead, one after the other, and
// returns when there is none left. Only objects from valueThreshold on live there.
func (e *Engine) CollectGarbage() error {
	for {
		e.mu.RLock()
		if e.db == nil {
			e.mu.RUnlock()
			return nil
		}
		err := e.db.RunValueLogGC(0.5)
		e.mu.RUnlock()
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("collecting the value log: %w", err)
		}
		time.Sleep(10 * time.Millisecond) // Leave the disk to writers between files.
	}
}

type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) Errorf(f string, a ...any)   { l.log.Error(fmt.Sprintf(f, a...)) }
func (l badgerLogger) Warningf(f string, a ...any) { l.log.Warn(fmt.Sprintf(f, a...)) }
func (l badgerLogger) Infof(f string, a ...any) {
	if l.log.Enabled(nil, slog.LevelDebug) { //nolint:staticcheck // no context reaches Badger's logger
		l.log.Debug(fmt.Sprintf(f, a...))
	}
}
func (l badgerLogger) Debugf(string, ...any) {}
