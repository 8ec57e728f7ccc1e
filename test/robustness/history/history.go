// Package history is what happened in a run: operations of clients with their answers, and
// what watches delivered. It is written as JSON where a run fails, and knows neither how
// it came about nor how it is judged.
package history

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Key names an object: "namespace/name".
type Key string

// Version is an object at a revision. Content is what writes put in it: two writes never
// put the same.
type Version struct {
	Revision uint64 `json:"rv"`
	UID      string `json:"uid"`
	Content  string `json:"content"`
}

// Kind of an operation.
type Kind string

// The kinds of operations.
const (
	Create      Kind = "create"
	Update      Kind = "update"
	Patch       Kind = "patch"
	Delete      Kind = "delete"
	Get         Kind = "get"
	List        Kind = "list"
	Transaction Kind = "transaction"
)

// Change is one write, alone or in a transaction.
type Change struct {
	Verb Kind `json:"verb"`
	Key  Key  `json:"key"`
	// Content written; for a patch only the part behind the slash.
	Content string `json:"content,omitempty"`
	// Guards: the revision and the identity that the object must have, where set.
	GuardRevision uint64 `json:"guardRV,omitempty"`
	GuardUID      string `json:"guardUID,omitempty"`
	// Result as it was answered. Of a deletion only the UID is.
	Result *Version `json:"result,omitempty"`
}

// Outcome of an operation, as a client must understand the answer.
type Outcome string

// The outcomes of operations.
const (
	// OK: it happened.
	OK Outcome = "ok"
	// Conflict, Exists and NotFound refuse a write by the state that it met.
	Conflict Outcome = "conflict"
	Exists   Outcome = "exists"
	NotFound Outcome = "notFound"
	// Refused for reasons of the server: it certainly did not happen.
	Refused Outcome = "refused"
	// Unknown: it may have happened, or happen later, or never.
	Unknown Outcome = "unknown"
	// Wrong is an answer that no client has to expect.
	Wrong Outcome = "wrong"
)

// Operation is one request and its answer. Times are nanoseconds since the run began.
type Operation struct {
	ID     int   `json:"id"`
	Client int   `json:"client"`
	Server int   `json:"server"`
	Kind   Kind  `json:"kind"`
	Call   int64 `json:"call"`
	Return int64 `json:"return"`

	// Changes of a write: one, or those of a transaction.
	Changes []Change `json:"changes,omitempty"`
	// Key of a get, Namespace of a list (empty: all).
	Key       Key    `json:"key,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// At is the resourceVersion that a read asks for: "" is linearizable, "0" is whatever
	// the server has. Exact asks for that revision and no other.
	At    string `json:"at,omitempty"`
	Exact bool   `json:"exact,omitempty"`
	// Pages is the number of pages that a list came in, where it was asked for in pages.
	Pages int `json:"pages,omitempty"`
	// Stream is a list that came as the initial events of a watch.
	Stream bool `json:"stream,omitempty"`

	Outcome Outcome `json:"outcome"`
	Status  int     `json:"status,omitempty"`
	Message string  `json:"message,omitempty"`
	// Retriable answers let client libraries send the request again by themselves.
	Retriable bool `json:"retriable,omitempty"`
	// Revision of the list, and what a read saw.
	Revision uint64          `json:"rv,omitempty"`
	Objects  map[Key]Version `json:"objects,omitempty"`
}

// EventType is what an event says.
type EventType string

// The types of events. Stored objects see the first three.
const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
	Bookmark EventType = "BOOKMARK"
)

// Event is what a watch delivered.
type Event struct {
	Type EventType `json:"type"`
	Key  Key       `json:"key,omitempty"`
	Version
	// At is when it arrived.
	At int64 `json:"at"`
	// Bytes of the object, where they are compared.
	Bytes []byte `json:"-"`
}

// Watch is one request to watch, from a revision on.
type Watch struct {
	Watcher   int    `json:"watcher"`
	Server    int    `json:"server"`
	Namespace string `json:"namespace,omitempty"`
	// From is the revision it starts behind.
	From   uint64 `json:"from"`
	Call   int64  `json:"call"`
	Return int64  `json:"return"`
	// Events in the order in which they came, bookmarks too.
	Events []Event `json:"events,omitempty"`
	// End says why it ended.
	End string `json:"end,omitempty"`
	// Expired: the server said that the revision is too old (410).
	Expired bool `json:"expired,omitempty"`
}

// Note is a fault, or anything else worth to be seen beside operations.
type Note struct {
	At   int64  `json:"at"`
	Text string `json:"text"`
}

// History is a run.
type History struct {
	Seed       uint64      `json:"seed"`
	Begin      time.Time   `json:"begin"`
	Notes      []Note      `json:"notes"`
	Operations []Operation `json:"operations"`
	Watches    []*Watch    `json:"watches"`

	mu   sync.Mutex
	next int
}

// New is a history that begins now.
func New(seed uint64) *History { return &History{Seed: seed, Begin: time.Now()} }

// Now is the time in the history.
func (h *History) Now() int64 { return int64(time.Since(h.Begin)) }

// NextID numbers operations.
func (h *History) NextID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

// Add appends an operation that has ended.
func (h *History) Add(op Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Operations = append(h.Operations, op)
}

// AddWatch appends a watch that has ended.
func (h *History) AddWatch(w *Watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Watches = append(h.Watches, w)
}

// Note notes what happens now.
func (h *History) Note(text string) {
	at := h.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Notes = append(h.Notes, Note{at, text})
}

// Write writes the history to a file.
func (h *History) Write(path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	e := json.NewEncoder(f)
	e.SetIndent("", " ")
	if err := e.Encode(h); err != nil {
		return err
	}
	return f.Close()
}

// Read reads what Write wrote.
func Read(path string) (*History, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	h := &History{}
	return h, json.Unmarshal(b, h)
}
