package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

// Config says where a store lives and how much it may use. Dir is required; every other
// field has a default.
type Config struct {
	// Dir holds everything durable: the Raft log, the state and the snapshot's metadata.
	// One process at a time may use it.
	Dir string
	// NodeID names this server among the voters; it must never change. Default "server".
	NodeID string

	// Address is the "host:port" on which this server talks Raft with the other voters.
	// Empty means that there are none yet: the transport then stays in the process.
	Address string
	// Advertise is the "host:port" at which the others reach Address. Default Address.
	Advertise string
	// PeerTLS, where set, protects the connections between voters; it must both present
	// and demand certificates.
	PeerTLS *tls.Config
	// AdmitPeer, where set, is asked about every connection to Address, with the common name
	// of the certificate.
	AdmitPeer func(name string) error
	// Asked answers the questions of other servers (Ask); from is the common name of the
	// asking server's certificate, or NodeID where that is this server itself.
	Asked func(ctx context.Context, from string, question []byte) ([]byte, error)
	// Transport replaces the transport that Address would make.
	Transport raft.Transport
	// Bootstrap makes an empty directory the first voter of a new cluster. A directory
	// that already has a state ignores it. Without it an empty server waits until a
	// leader adds it (AddVoter).
	Bootstrap bool

	// CacheBytes bounds the objects kept in memory; the rest are read from disk when they
	// are asked for. Default 64 MiB.
	CacheBytes int64
	// EventBytes bounds the events kept in memory for watchers, all buckets together. A
	// watcher behind them reads the stored history. Default 16 MiB.
	EventBytes int64
	// HistoryWindow is how long old revisions stay readable and watchable. Default 10 min.
	HistoryWindow time.Duration
	// HistoryRevisions bounds the same by number. Default 1,000,000.
	HistoryRevisions uint64
	// HistoryBytes bounds the same by what the revisions occupy on disk. Default 256 MiB.
	HistoryBytes int64
	// LogBytes bounds the Raft log on disk, up to a few segments of 16 MiB. Default 64 MiB.
	LogBytes int64
	// MinFreeBytes is the room on the disk below which writes are refused with
	// ErrNoSpace, so that the log and the state never meet a full disk; below 64 MiB it does not
	// protect. Default 128 MiB.
	MinFreeBytes uint64

	// HeartbeatTimeout is how long followers wait for a leader before they elect another;
	// it grows with the network between the voters. Default 1 s.
	HeartbeatTimeout time.Duration
	// SnapshotInterval and SnapshotEntries say how often the log is cut: at this interval
	// if at least so many entries have come. Defaults 30 s and 4,096.
	SnapshotInterval time.Duration
	SnapshotEntries  uint64
	// TrailingEntries of the log stay behind a snapshot, for followers that are a little
	// late. Default 2,048.
	TrailingEntries uint64

	// Sealer encrypts objects on their way to the log and the disk. Without one nothing is
	// encrypted, and a state that has encrypted objects is refused.
	Sealer Sealer

	// Logger for everything below; default slog.Default().
	Logger *slog.Logger
}

// withDefaults fills what was left out and says what can't be.
func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("store: Dir must be set")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("store: Dir: %w", err)
	}
	c.Dir = dir
	c.NodeID = cmp.Or(c.NodeID, "server")
	c.Advertise = cmp.Or(c.Advertise, c.Address)
	c.CacheBytes = cmp.Or(c.CacheBytes, 64<<20)
	c.EventBytes = cmp.Or(c.EventBytes, 16<<20)
	c.HistoryWindow = cmp.Or(c.HistoryWindow, 10*time.Minute)
	c.HistoryRevisions = cmp.Or(c.HistoryRevisions, 1_000_000)
	c.HistoryBytes = cmp.Or(c.HistoryBytes, 256<<20)
	c.LogBytes = cmp.Or(c.LogBytes, 64<<20)
	c.MinFreeBytes = cmp.Or(c.MinFreeBytes, 128<<20)
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, time.Second)
	c.SnapshotInterval = cmp.Or(c.SnapshotInterval, 30*time.Second)
	c.SnapshotEntries = cmp.Or(c.SnapshotEntries, 4096)
	c.TrailingEntries = cmp.Or(c.TrailingEntries, 2048)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.CacheBytes < 0 || c.EventBytes < 0:
		return c, errors.New("store: CacheBytes and EventBytes must not be negative")
	case c.HistoryBytes < 0 || c.LogBytes < 0:
		return c, errors.New("store: HistoryBytes and LogBytes must not be negative")
	case c.HistoryWindow < 0:
		return c, errors.New("store: HistoryWindow must not be negative")
	case c.HeartbeatTimeout < 10*time.Millisecond:
		return c, fmt.Errorf("store: HeartbeatTimeout %s is too short, at least 10ms", c.HeartbeatTimeout)
	case c.SnapshotInterval < 5*time.Millisecond:
		return c, fmt.Errorf("store: SnapshotInterval %s is too short, at least 5ms", c.SnapshotInterval)
	}
	return c, nil
}
