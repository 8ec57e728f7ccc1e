package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// Watcher lists once and then watches, through one server after the other, always from the
// last revision it knows. It lists again only where a server says that it has to.
type Watcher struct {
	ID      int
	HTTP    *http.Client
	Target  *Target
	History *history.History
	Rand    *rand.Rand
	// Namespace, empty for all.
	Namespace string
	// From is where it starts; 0 lists first.
	From uint64

	seen atomic.Uint64
}

// Seen is the newest revision that it knows: of an event, a bookmark or a list.
func (w *Watcher) Seen() uint64 { return w.seen.Load() }

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	w.seen.Store(w.From)
	expired, last := 0, 0
	for ctx.Err() == nil {
		server := w.Rand.IntN(len(w.Target.URLs))
		if expired > 0 {
			server = (last + 1) % len(w.Target.URLs)
		}
		last = server
		if w.seen.Load() == 0 && !w.list(ctx, server) {
			sleep(ctx, 50*time.Millisecond)
			continue
		}
		seg := &history.Watch{Watcher: w.ID, Server: w.Target.Base + server, Namespace: w.Namespace, From: w.seen.Load(), Call: w.History.Now()}
		err := w.watch(ctx, seg)
		seg.Return = w.History.Now()
		if err != nil {
			seg.End = err.Error()
		}
		w.History.AddWatch(seg)
		if !seg.Expired {
			expired = 0
		} else if expired++; expired == len(w.Target.URLs) {
			// Nobody has the history any more.
			expired = 0
			w.seen.Store(0)
		}
		if len(seg.Events) == 0 {
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// list finds where to start.
func (w *Watcher) list(ctx context.Context, server int) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	op := history.Operation{ID: w.History.NextID(), Client: 1000 + w.ID, Server: server, Kind: history.List, Namespace: w.Namespace}
	if w.Rand.IntN(2) == 0 {
		op.At = "0"
	}
	c := &Client{ID: op.Client, HTTP: w.HTTP, Target: w.Target, History: w.History, Rand: w.Rand}
	c.Perform(ctx, &op)
	op.Return = w.History.Now()
	w.History.Add(op)
	if op.Outcome != history.OK {
		return false
	}
	w.seen.Store(op.Revision)
	return true
}

// watch is one request.
func (w *Watcher) watch(ctx context.Context, seg *history.Watch) error {
	// Not too long, so that resuming is tried often.
	ctx, cancel := context.WithTimeout(ctx, time.Second+time.Duration(w.Rand.IntN(8000))*time.Millisecond)
	defer cancel()
	url := fmt.Sprintf("%s?watch=1&allowWatchBookmarks=true&resourceVersion=%d", w.Target.collection(seg.Server-w.Target.Base, w.Namespace), seg.From)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	// The headers come when the server serves the watch, or not at all.
	timer := time.AfterFunc(3*time.Second, cancel)
	resp, err := w.HTTP.Do(req)
	timer.Stop()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		seg.Expired = resp.StatusCode == http.StatusGone
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	in := bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err // A cut line is no event.
		}
		e, err := w.event(line, seg)
		if err != nil {
			return err
		}
		if e.Type == history.Bookmark || w.Target.covers(namespaceOf(e.Key)) {
			seg.Events = append(seg.Events, e)
		}
		w.seen.Store(e.Revision)
	}
}

func namespaceOf(k history.Key) string {
	for i := range k {
		if k[i] == '/' {
			return string(k[:i])
		}
	}
	return ""
}

func (w *Watcher) event(line []byte, seg *history.Watch) (history.Event, error) {
	var frame struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	e := history.Event{At: w.History.Now()}
	if err := json.Unmarshal(line, &frame); err != nil {
		return e, fmt.Errorf("%w: %.200s", err, line)
	}
	if frame.Type == "ERROR" {
		var s status
		_ = json.Unmarshal(frame.Object, &s)
		seg.Expired = s.Code == http.StatusGone
		return e, fmt.Errorf("error event: %.300s", frame.Object)
	}
	var m configMap
	if err := json.Unmarshal(frame.Object, &m); err != nil {
		return e, fmt.Errorf("%w: %.200s", err, line)
	}
	e.Type = history.EventType(frame.Type)
	rv, err := strconv.ParseUint(m.Metadata.ResourceVersion, 10, 64)
	if err != nil {
		return e, fmt.Errorf("%w: %.200s", err, line)
	}
	e.Revision = rv
	if e.Type != history.Bookmark {
		e.Key, e.Bytes = m.key(), frame.Object
		e.Version, _ = m.version()
		e.Revision = rv
	}
	return e, nil
}
