package store

import (
	"crypto/tls"
	"log/slog"
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
	// MinFreeBytes is the room on the disk below which writes are refused with
	// ErrNoSpace, so that the log and the state never meet a full disk. Default 128 MiB.
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

	// Logger for everything below; default slog.Default().
	Logger *slog.Logger
}
