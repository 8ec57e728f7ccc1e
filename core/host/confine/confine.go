package confine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
)

// Config is what a Keeper needs.
type Config struct {
	// Dir belongs to the host. Users are remembered in it, and it tells its groups from
	// those of other hosts on the machine.
	Dir string
	// Hide are paths that guests do not see, but for what they are given below them. Dir
	// is hidden always.
	Hide []string
	// Users is the range of user ids for guests.
	Users Range
}

// Range of user ids, which are used as group ids too.
type Range struct {
	// First id. 1,900,000,000 where zero: no distribution, container engine or directory
	// service gives such ids away.
	First uint32
	// Count of ids. 1,000,000 where zero.
	Count uint32
}

func (r Range) orDefault() Range {
	if r.First == 0 {
		r.First = 1_900_000_000
	}
	if r.Count == 0 {
		r.Count = 1_000_000
	}
	return r
}

// Guest is what one process is given.
type Guest struct {
	// Name of the guest: it has the same user in each of its lives.
	Name string
	// Limits of it and its descendants together.
	Limits Limits
	// Network leaves it the machine's network.
	Network bool
	// Write are directories that become its own, with all that is in them. They must exist.
	Write []string
	// Read are files, directories and sockets that it must reach.
	Read []string
	// Given are files, directories and sockets of the machine that it may use as their owner
	// does, whoever that is.
	Given []Given
	// Root makes it run as the host's user.
	Root bool
	// Capabilities that it has, such as SYS_ADMIN; see capabilities(7).
	Capabilities []string
	// Propagate makes what it mounts below the directories that it was given to write to
	// appear on the machine, and the other way.
	Propagate bool
}

// Given is something of the machine that a guest sees at its own path.
type Given struct {
	Path  string
	Write bool
}

// Limits of a guest. Zero means no limit.
type Limits struct {
	MemoryBytes int64
	// MilliCPU is in thousandths of a core.
	MilliCPU int64
	// Processes counts threads as well.
	Processes int64
	// DiskBytes bounds what lies in the directories that are its own; see Cell.Disk.
	DiskBytes int64
}

// Keeper confines the guests of one host.
type Keeper struct {
	config Config
	users  *users
	parent string // of the guests' groups, below the cgroup file systems
	cells  atomic.Uint64
	shared shared
}

// New returns a keeper, and ends what guests of an earlier host with the same Dir have left.
func New(config Config) (*Keeper, error) {
	if !filepath.IsAbs(config.Dir) {
		return nil, fmt.Errorf("confine: dir %q: an absolute path is needed", config.Dir)
	}
	config.Hide = append([]string{config.Dir}, config.Hide...)
	sum := sha256.Sum256([]byte(config.Dir))
	k := &Keeper{
		config: config, users: newUsers(filepath.Join(config.Dir, "users.json"), config.Users.orDefault(), config.Dir),
		parent: "/pintle-guests-" + hex.EncodeToString(sum[:4]),
	}
	if err := removeGroups(k.parent); err != nil {
		return nil, fmt.Errorf("confine: groups of an earlier host: %w", err)
	}
	return k, nil
}

// Close removes what the keeper has made on the machine. Its cells must be closed.
func (k *Keeper) Close() error {
	if err := errors.Join(k.shared.undo(), removeGroups(k.parent)); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	return nil
}

// Measure is one part of confinement.
type Measure string

// The measures.
const (
	// OwnGroup is a cgroup with limits.
	OwnGroup Measure = "cgroup"
	// NoPrivileges: no capabilities, and none to be had from files.
	NoPrivileges Measure = "no privileges"
	// FilteredCalls: system calls that a plugin has no use for are refused.
	FilteredCalls Measure = "system calls filtered"
	// FileLimits: how large a file may get, and how many may be open. Without them only what
	// is measured bounds the disk.
	FileLimits Measure = "limits of files"
	// OwnUser is a user of its own.
	OwnUser Measure = "own user"
	// OwnView is a read-only view of the file system with private temporary directories.
	OwnView Measure = "read-only file system"
	// OwnProcesses are namespaces for processes and IPC: all descendants end with the guest.
	OwnProcesses Measure = "own processes"
	// OwnNetwork is a network namespace with a loopback interface only.
	OwnNetwork Measure = "no network"
	// LandlockFiles and LandlockNetwork stand in for OwnView and OwnNetwork where the host
	// may not make namespaces.
	LandlockFiles   Measure = "files by Landlock"
	LandlockNetwork Measure = "no TCP by Landlock"
)

// Report says how a guest is confined.
type Report struct {
	// UserID of the guest; that of the host where it has none of its own.
	UserID uint32
	// Measures that hold.
	Measures []Measure
	// Skipped are measures that do not, each with the reason: "own user: …".
	Skipped []string
}
