package store

import (
	"errors"

	"github.com/pintle-dev/pintle/core/store/internal/engine"
)

// Key names a stored object: "<bucket>/<namespace>/<name>". A bucket is one resource type
// ("pods", "deployments.apps"); namespace is empty for cluster-scoped types. All of one
// bucket's events form one ordered log.
type Key string

// Object is one stored object at one revision. Data is what clients are served and is
// shared: nobody changes it.
type Object struct {
	Key Key
	// Revision of the last write of the object.
	Revision uint64
	Data     []byte
}

// Write is one guarded change. Exactly one of Data and Delete is set.
type Write struct {
	Key Key
	// Data is the object's bytes without its revision: RevisionAt is the offset in Data
	// at which the state machine inserts the revision in decimal (negative: nowhere).
	Data       []byte
	RevisionAt int
	Delete     bool
	// Expect guards the write: MustNotExist, Any, or the revision the object must have.
	Expect Expectation
	// Note is what History says of a deletion besides, at most MaxNoteBytes.
	Note []byte
	// Check, with neither Data nor Delete, only guards: nothing is written. It is for
	// transactions.
	Check bool
}

// Expectation is a revision the object must have, or one of the two constants.
type Expectation int64

// Special expectations.
const (
	MustNotExist Expectation = 0
	Any          Expectation = -1
)

// ListOptions says which part of a bucket is read.
type ListOptions struct {
	// Revision to read at; 0 means the newest applied. One inside a transaction means the
	// end of that.
	Revision uint64
	// After is the key to start behind, for pages.
	After Key
	// Limit of objects, 0 for all.
	Limit int
}

// Snapshot is a consistent view of a bucket (or of a prefix in it) at one revision.
type Snapshot struct {
	Revision uint64
	Objects  []Object
	// More is set where Limit cut the list; Remaining counts what is behind it (negative
	// where that is not known).
	More      bool
	Remaining int64
}

// EventType is what happened to an object.
type EventType uint8

// The types of events.
const (
	Added EventType = iota + 1
	Modified
	Deleted
)

// Event is one change. An Event is shared by all watchers and never changed but for
// Frames, in which layers above keep what they have derived from it.
type Event struct {
	Type     EventType
	Key      Key
	Revision uint64
	// Data is the object after the change; for Deleted the last state.
	Data []byte
	// Prev is the object before the change, nil for Added. It lets a watcher with a
	// selector see that an object has left it.
	Prev   []byte
	Frames Frames

	// sealed is set where Data or Prev is missing because it could not be opened when the event
	// was made; watchers make the event again.
	sealed bool
}

// Errors that callers test for with errors.Is.
var (
	// ErrConflict: the object does not have the expected revision.
	ErrConflict = errors.New("revision conflict")
	// ErrExists: MustNotExist was expected and the object exists.
	ErrExists = errors.New("object exists")
	// ErrNotFound: the object does not exist.
	ErrNotFound = errors.New("object not found")
	// ErrCompacted: the revision asked for is older than the retained history.
	ErrCompacted = errors.New("revision has been compacted")
	// ErrFutureRevision: the revision asked for has not been reached yet.
	ErrFutureRevision = errors.New("revision is in the future")
	// ErrNotLeader: this server can't take the write; it was not applied.
	ErrNotLeader = errors.New("not the leader")
	// ErrRefused: another server has answered a question with a reason not to.
	ErrRefused = errors.New("refused")
	// ErrRemoved: the server is no part of its cluster any more.
	ErrRemoved = errors.New("removed from the cluster")
	// ErrUnknownOutcome: the write may or may not have been applied.
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
	// ErrNoSpace: the disk is nearly full; the write was not applied.
	ErrNoSpace = errors.New("not enough disk space")
	// ErrWithheld: the write was not applied because of another one in its transaction.
	ErrWithheld = errors.New("another write of the transaction was refused")
	// ErrTooLarge: the object has more than MaxObjectBytes, or a transaction more than
	// MaxTransactionBytes.
	ErrTooLarge = errors.New("object is too large")
	// ErrSealed: the object is encrypted and can't be decrypted here; the rest of the error says
	// why. It can be overwritten and deleted all the same.
	ErrSealed = engine.ErrSealed
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store is closed")
)
