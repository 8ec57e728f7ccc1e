package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/store/internal/durable"
	"github.com/pintle-dev/pintle/core/store/internal/engine"
	"github.com/pintle-dev/pintle/core/store/internal/raftlog"
)

// ErrDamaged says that files of the store do not have what was written to them.
var ErrDamaged = errors.New("the store is damaged")

// asidePrefix begins the names of directories with what was damaged.
const asidePrefix = "damaged-"

// Open opens or creates the store in cfg.Dir. A server that is the only voter is its
// leader, with everything acknowledged before applied, when Open returns; with several
// voters Open does not wait for them.
//
// Files are checked first. Where they are damaged, and there are other servers, the damaged
// state is set aside and comes again from them, which takes a while; until then this server
// grants no vote that it might not have granted before. Otherwise the error is ErrDamaged, and
// the directory is left as it is.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, cfg)
	if err == nil || !durable.IsDamage(err) {
		return s, err
	}
	if repairErr := repair(cfg, err); repairErr != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, repairErr)
	}
	return open(ctx, cfg)
}

// repair sets what is damaged aside, if it can come from elsewhere.
func repair(cfg Config, damage error) (err error) {
	log := cfg.Logger.With("component", "store")
	unlock, err := engine.Lock(cfg.Dir)
	if err != nil {
		return errors.Join(damage, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	dir := filepath.Join(cfg.Dir, logDir)
	if err := raftlog.FinishRefill(dir); err != nil {
		return errors.Join(damage, err)
	}
	found := raftlog.Inspect(dir, engine.IsFormat1(cfg.Dir))
	switch {
	case !found.Stable:
		return fmt.Errorf("%w; without Raft's variables this server might vote twice. If the cluster has others, "+
			"remove this one there (pintle server remove %s) and join with an empty data directory; if not, %s", damage, cfg.NodeID, restoreAdvice)
	case found.Others(cfg.NodeID):
		return setAside(cfg, log, damage, &found)
	case found.Err == nil && found.Extent.First == 1 && found.Extent.Last.Index >= engine.ClosedAt(cfg.Dir) && !inside(damage, dir):
		return replayAll(cfg, log, damage)
	}
	return fmt.Errorf("%w; there is no other server to repair it from: %s", damage, restoreAdvice)
}

const restoreAdvice = "restore the newest backup into an empty data directory (pintle backup restore). Nothing was changed in this one"

// inside says whether the damage is to a file in dir.
func inside(damage error, dir string) bool {
	var d *durable.Damage
	return errors.As(damage, &d) && (d.Path == dir || strings.HasPrefix(d.Path, dir+string(filepath.Separator)))
}

// setAside makes this server one that has nothing but its vote and the memory of how far it
// had acknowledged the log. The others send it the rest.
func setAside(cfg Config, log *slog.Logger, damage error, found *raftlog.Found) error {
	aside, err := asideDir(cfg.Dir)
	if err != nil {
		return errors.Join(damage, err)
	}
	floor := found.Extent.Last
	if !found.Extent.EndKnown || floor.Index < engine.ClosedAt(cfg.Dir) {
		// No entry that it can have had is of a later term.
		floor = raftlog.Position{Term: found.Term, Index: math.MaxUint64}
	}
	if err := raftlog.Refill(filepath.Join(cfg.Dir, logDir), filepath.Join(aside, logDir), floor); err != nil {
		return errors.Join(damage, err)
	}
	if err := moveState(cfg.Dir, aside); err != nil {
		return errors.Join(damage, err)
	}
	log.Error("Damaged files were set aside; this server is filled again by the others",
		"error", damage, "aside", aside, "term", floor.Term, "index", floor.Index)
	return nil
}

// replayAll makes the state again from the log, which has everything since the beginning.
func replayAll(cfg Config, log *slog.Logger, damage error) error {
	aside, err := asideDir(cfg.Dir)
	if err != nil {
		return errors.Join(damage, err)
	}
	if err := moveState(cfg.Dir, aside); err != nil {
		return errors.Join(damage, err)
	}
	log.Error("The damaged state was set aside; it is made again from the log, which is complete", "error", damage, "aside", aside)
	return nil
}

// asideDir makes a directory for what is damaged, in the place of any before it.
func asideDir(dir string) (string, error) {
	old, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
	if err != nil {
		return "", err
	}
	aside := filepath.Join(dir, asidePrefix+time.Now().UTC().Format("20060102-150405.000"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", fmt.Errorf("a place for what is damaged: %w", err)
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	return aside, nil
}

// moveState moves everything but the log; what is needed first in a store goes last.
func moveState(dir, aside string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "state-") || e.Name() == snapshotDir {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, "RUN", "CURRENT") {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("setting %s aside: %w", name, err)
		}
	}
	if err := engine.EnsureFormat(dir); err != nil {
		return err
	}
	return errors.Join(durable.SyncPath(aside), durable.SyncPath(dir))
}

// ErrFormat says that the directory was written in a format that this version does not read.
var ErrFormat = engine.ErrFormat
