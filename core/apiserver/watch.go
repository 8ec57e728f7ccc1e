package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/selector"
	"github.com/pintle-dev/pintle/core/store"
)

// bookmarkInterval is how often a quiet watch that allows it gets a bookmark.
const bookmarkInterval = time.Minute

// stream is one watch being served.
type stream struct {
	q        *request
	sel      selector.Selector
	frames   framer
	buf      []byte
	flush    func() error
	bookmark bool
	// sent is the newest revision the client knows that it has seen everything up to.
	sent uint64
	// counter counts the events that are sent.
	counter prometheus.Counter
}

// watch streams the changes of a collection.
func (q *request) watch() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true, Stream: true}); err != nil {
		return err
	}
	sel, err := q.selector()
	if err != nil {
		return err
	}
	start, err := q.watchStart()
	if err != nil {
		return err
	}
	frames, err := q.newFramer()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), q.watchTimeout())
	defer cancel()
	q.ctx = ctx
	if end := stopping(ctx); end != nil {
		if end.Err() != nil {
			// A stream that ends at once would be opened again at once.
			return unavailable("the server is shutting down")
		}
		defer context.AfterFunc(end, cancel)()
	}
	// A stream that nobody reads is no reason to outlive its time.
	defer boundWrites(ctx, q.w, takeGrace)()

	var initial listed
	after := start.revision
	if start.list {
		if initial, err = q.read(sel, 0, store.ListOptions{}); err != nil {
			return err
		}
		after = initial.revision
	}
	w, err := q.server.cfg.Store.Watch(ctx, q.kind.prefix(q.route.namespace), after)
	if err != nil && !errors.Is(err, store.ErrCompacted) {
		return fmt.Errorf("watch %s: %w", q.kind.gr, err)
	}
	gauge := q.server.metrics.watches.WithLabelValues("WATCH", q.kind.GVR.Group, q.kind.GVR.Version, q.kind.GVR.Resource, "", q.route.scope(), component)
	gauge.Inc()
	defer gauge.Dec()

	st := &stream{q: q, sel: sel, frames: frames, sent: after, bookmark: queryTrue(q.query, "allowWatchBookmarks"),
		counter: q.server.metrics.events.WithLabelValues(q.kind.GVR.Group, q.kind.GVR.Version, q.kind.GVR.Resource)}
	rc := http.NewResponseController(q.w)
	st.flush = rc.Flush
	h := q.w.Header()
	h.Set("Content-Type", frames.contentType)
	h.Set("Cache-Control", "no-cache, private")
	q.writeWarnings()
	q.w.WriteHeader(http.StatusOK)
	if err != nil {
		// The client learns it as an event, as upstream has it: the stream has begun.
		return st.fail(expired(after))
	}
	defer w.Close()
	if err := st.sendInitial(initial, start); err != nil {
		return err
	}
	q.ticket.Release()
	return st.run(ctx, w)
}

func expired(rv uint64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", rv))
}

// watchFrom says where a watch begins.
type watchFrom struct {
	revision uint64
	// list sends the present state first, as ADDED events; end marks their end with a
	// bookmark.
	list, end bool
}

func (q *request) watchStart() (watchFrom, error) {
	var f watchFrom
	version := q.query.Get("resourceVersion")
	initial := q.query.Get("sendInitialEvents")
	if _, err := q.listOptions(); err != nil {
		return f, err
	}
	if err := q.fresh(version); err != nil {
		return f, err
	}
	switch {
	case initial != "" && queryTrue(q.query, "sendInitialEvents"):
		f.list, f.end = true, queryTrue(q.query, "allowWatchBookmarks")
	case initial != "":
		f.revision = q.server.cfg.Store.Revision()
		if version != "" && version != "0" {
			f.revision, _ = strconv.ParseUint(version, 10, 64) // fresh has read it
		}
	case version == "" || version == "0":
		f.list = true
	default:
		f.revision, _ = strconv.ParseUint(version, 10, 64) // fresh has read it
	}
	return f, nil
}

func (q *request) watchTimeout() time.Duration {
	if text := q.query.Get("timeoutSeconds"); text != "" {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil && n > 0 {
			return time.Duration(n) * time.Second
		}
	}
	base := q.server.cfg.Limits.WatchTimeout
	return base + rand.N(base)
}

func (s *stream) sendInitial(l listed, start watchFrom) error {
	for i := range l.objects {
		o := &l.objects[i]
		if err := s.frame(&store.Event{Type: store.Added, Key: o.Key, Revision: o.Revision, Data: o.Data}, eventAdded); err != nil {
			return err
		}
		if len(s.buf) >= chunkSize {
			if err := s.write(); err != nil {
				return err
			}
		}
	}
	if start.end {
		if err := s.appendBookmark(l.revision, true); err != nil {
			return err
		}
	}
	return s.send()
}

// run sends events as they come, and bookmarks while there are none.
func (s *stream) run(ctx context.Context, w *store.Watcher) error {
	for {
		quiet, err := s.follow(ctx, w)
		if err != nil || !quiet {
			return err
		}
		if err := s.progress(w); err != nil {
			return err
		}
	}
}

// follow sends events until the next bookmark is due (quiet) or the stream has ended.
// Events that are ready together are one write.
func (s *stream) follow(ctx context.Context, w *store.Watcher) (quiet bool, err error) {
	wait, cancel := context.WithTimeout(ctx, bookmarkInterval)
	defer cancel()
	for {
		events, err := w.Next(wait)
		switch {
		case err == nil:
			if err := s.events(events); err != nil {
				return false, err
			}
		case ctx.Err() != nil:
			return false, s.end(w)
		case errors.Is(err, context.DeadlineExceeded):
			return true, nil
		case errors.Is(err, store.ErrCompacted):
			return false, s.fail(expired(s.sent))
		default:
			return false, s.fail(err)
		}
	}
}

// end closes the stream; a client that allows it learns how far it has come, so that it
// resumes there.
func (s *stream) end(w *store.Watcher) error {
	if s.q.r.Context().Err() != nil {
		return nil //nolint:nilerr // the client has gone; there is nobody to tell
	}
	return s.progress(w)
}

func (s *stream) progress(w *store.Watcher) error {
	rv := w.Progress()
	if !s.bookmark || rv <= s.sent {
		return nil
	}
	if err := s.appendBookmark(rv, false); err != nil {
		return err
	}
	s.sent = rv
	return s.send()
}

func (s *stream) events(events []*store.Event) error {
	for _, e := range events {
		kind, data := s.seen(e)
		s.sent = e.Revision
		if kind == "" {
			continue
		}
		if data != nil {
			e = &store.Event{Type: store.Deleted, Key: e.Key, Revision: e.Revision, Data: data}
		}
		if err := s.frame(e, kind); err != nil {
			return err
		}
		if len(s.buf) >= chunkSize {
			if err := s.write(); err != nil {
				return err
			}
		}
	}
	return s.send()
}

// seen says what an event is to this watcher: an object that leaves its selector is
// deleted to it, in the state that it knew (replace) but at the event's revision.
func (s *stream) seen(e *store.Event) (kind string, replace []byte) {
	if s.sel.Empty() {
		switch e.Type {
		case store.Added:
			return eventAdded, nil
		case store.Deleted:
			return eventDeleted, nil
		}
		return eventModified, nil
	}
	if name := s.sel.Name(); name != "" && !hasName(e.Key, name) {
		return "", nil
	}
	now := e.Type != store.Deleted && s.sel.MatchesWith(e.Data, s.q.kind.fieldsOf(e, "=", e.Data))
	before := e.Prev != nil && s.sel.MatchesWith(e.Prev, s.q.kind.fieldsOf(e, "<", e.Prev))
	if e.Type == store.Deleted && e.Prev == nil {
		before = s.sel.MatchesWith(e.Data, s.q.kind.fieldsOf(e, "=", e.Data))
	}
	switch {
	case now && before:
		return eventModified, nil
	case now:
		return eventAdded, nil
	case before && e.Type == store.Deleted:
		return eventDeleted, nil
	case before:
		return eventDeleted, withRevision(e.Prev, e.Revision)
	}
	return "", nil
}

func hasName(key store.Key, name string) bool {
	n := len(key) - len(name)
	return n > 0 && key[n-1] == '/' && string(key[n:]) == name
}

// fieldsOf finds values of fields in one state of an event's object, each once for all
// watchers of the kind. State marks which state it is among what is kept with the event.
func (k *kind) fieldsOf(e *store.Event, state string, data []byte) selector.Values {
	if k.converts() {
		state += k.apiVersion + "/"
	}
	return func(path string) string {
		v, _ := e.Frames.Get(state+path, func() ([]byte, error) {
			presented := data
			if k.converts() {
				var err error
				if presented, err = k.present(data); err != nil {
					return nil, err
				}
			}
			return []byte(selector.Value(presented, path)), nil
		})
		return string(v)
	}
}

// frame appends an event to what is to be sent.
func (s *stream) frame(e *store.Event, kind string) error {
	s.counter.Inc()
	var err error
	s.buf, err = s.frames.append(s.buf, e, kind)
	return err
}

func (s *stream) appendBookmark(rv uint64, initialEnd bool) error {
	var err error
	s.buf, err = s.frames.bookmark(s.buf, rv, initialEnd)
	return err
}

func (s *stream) write() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.q.w.Write(s.buf)
	s.buf = s.buf[:0]
	if cap(s.buf) > 4*chunkSize {
		s.buf = nil
	}
	if err != nil {
		return fmt.Errorf("the client has gone: %w", err)
	}
	return nil
}

func (s *stream) send() error {
	if err := s.write(); err != nil {
		return err
	}
	if cap(s.buf) > 16<<10 {
		s.buf = nil // quiet watches hold no memory
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("the client has gone: %w", err)
	}
	return nil
}

// fail sends an error as an event and ends the stream.
func (s *stream) fail(err error) error {
	if s.q.r.Context().Err() != nil {
		return nil //nolint:nilerr // the client has gone; there is nobody to tell
	}
	data, encodeErr := json.Marshal(toStatus(err))
	if encodeErr != nil {
		return fmt.Errorf("encode a status: %w", encodeErr)
	}
	if s.buf, encodeErr = s.frames.status(s.buf, data); encodeErr != nil {
		return encodeErr
	}
	return s.send()
}
