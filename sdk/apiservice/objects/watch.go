package objects

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// bookmarkEvery is how often a quiet watch that allows it is told the revision.
const bookmarkEvery = time.Minute

// watcher is one watch that is under way.
type watcher struct {
	s       *Store
	w       http.ResponseWriter
	out     *json.Encoder
	f       filter
	as      form
	include string
	columns bool // a table's columns have not been sent
}

// watch sends changes until the client goes or the time is over.
func (h *handler) watch(w http.ResponseWriter, r *http.Request, s *Store, namespace, name string) error {
	q := r.URL.Query()
	f, err := parseFilter(namespace, q)
	if err != nil {
		return err
	}
	if name != "" {
		f.fields = fields.AndSelectors(f.fields, fields.OneTermEqualSelector("metadata.name", name))
	}
	o, err := parseWatch(q)
	if err != nil {
		return err
	}
	var over <-chan time.Time
	if o.timeout > 0 {
		t := time.NewTimer(o.timeout)
		defer t.Stop()
		over = t.C
	}
	var first []*item
	at := o.revision
	if o.initial {
		first, at = s.list(f)
	} else if at == 0 {
		_, at = s.list(f)
	}
	if _, _, _, ok := s.since(at); !ok {
		return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", at))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	wt := &watcher{s: s, w: w, out: json.NewEncoder(w), f: f, as: negotiate(r.Header.Get("Accept")), include: q.Get("includeObject"), columns: true}
	for _, it := range first {
		if err := wt.send(watch.Added, it); err != nil {
			return nil // the client has gone
		}
	}
	if o.bookmark && wt.mark(at, true) != nil {
		return nil
	}
	wt.follow(r, at, o.bookmarks, over)
	return nil
}

// follow sends what happens after a revision.
func (wt *watcher) follow(r *http.Request, at uint64, bookmarks bool, over <-chan time.Time) {
	quiet := time.NewTicker(bookmarkEvery)
	defer quiet.Stop()
	for {
		events, now, changed, ok := wt.s.since(at)
		if !ok {
			_ = wt.expired(at) // the last word to a client that is too slow
			return
		}
		for _, e := range events {
			if t, it := wt.f.seen(e); it != nil && wt.send(t, it) != nil {
				return
			}
		}
		at = now
		if http.NewResponseController(wt.w).Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-quiet.C:
			if bookmarks && wt.mark(at, false) != nil {
				return
			}
		case <-over:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (wt *watcher) event(t watch.EventType, object any) error {
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return wt.out.Encode(map[string]any{"type": t, "object": json.RawMessage(raw)})
}

func (wt *watcher) send(t watch.EventType, it *item) error {
	if wt.as == table {
		rows, err := wt.s.table([]*item{it}, wt.include, wt.columns)
		if err != nil {
			return err
		}
		wt.columns = false
		return wt.event(t, rows)
	}
	data, err := wt.s.show(it, wt.as)
	if err != nil {
		return err
	}
	return wt.event(t, data)
}

// mark tells a revision; all says that the objects that there were have been sent.
func (wt *watcher) mark(revision uint64, all bool) error {
	meta := metav1.ObjectMeta{ResourceVersion: strconv.FormatUint(revision, 10)}
	if all {
		meta.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	o := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: wt.s.apiVersion, Kind: wt.s.t.Kind}, ObjectMeta: meta}
	if wt.as == partial {
		o.TypeMeta = metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "PartialObjectMetadata"}
	}
	if wt.as == table {
		return wt.event(watch.Bookmark, &metav1.Table{
			TypeMeta: metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "Table"},
			ListMeta: metav1.ListMeta{ResourceVersion: meta.ResourceVersion}, Rows: []metav1.TableRow{},
		})
	}
	return wt.event(watch.Bookmark, &o)
}

func (wt *watcher) expired(at uint64) error {
	status := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", at)).Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return wt.event(watch.Error, &status)
}
