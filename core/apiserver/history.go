package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/store"
)

var historyGVK = schema.GroupVersionKind{Group: corev1.Group, Version: corev1.Version, Kind: corev1.HistoryKind}

// history answers with what became of an object, or of those of a collection.
func (q *request) history() error {
	if q.route.verb != "get" && q.route.verb != "list" || q.route.subresource != "" || q.kind.Definition.Virtual {
		return q.errMethod()
	}
	if err := q.negotiate(media.Offer{}); err != nil {
		return err
	}
	limit := corev1.DefaultHistoryLimit
	if text := q.query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > corev1.MaxHistoryLimit {
			return apierrors.NewBadRequest(fmt.Sprintf("limit: Invalid value: %q: must be a number from 1 to %d", text, corev1.MaxHistoryLimit))
		}
		limit = n
	}
	if err := q.fresh(q.query.Get("resourceVersion")); err != nil {
		return err
	}
	prefix := q.kind.prefix(q.route.namespace)
	if q.route.name != "" {
		prefix = q.kind.key(q.route.namespace, q.route.name)
	}
	h, err := q.server.cfg.Store.History(q.ctx, prefix, limit)
	if err != nil {
		return fmt.Errorf("history of %s: %w", q.kind.gr, err)
	}
	if q.route.name != "" && h.First == nil && len(h.Changes) == 0 {
		e := apierrors.NewNotFound(q.kind.gr, q.route.name)
		e.ErrStatus.Message += fmt.Sprintf(", and there was none since revision %d, behind which nothing is known", h.Horizon)
		return e
	}
	answer, err := q.historyOf(&h)
	if err != nil {
		return err
	}
	data, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode a history: %w", err)
	}
	return q.respondAs(http.StatusOK, historyGVK, data, nil)
}

func (q *request) historyOf(h *store.History) (*corev1.History, error) {
	objects := !q.query.Has("objects") || queryTrue(q.query, "objects")
	out := &corev1.History{
		TypeMeta: metav1.TypeMeta{APIVersion: corev1.APIVersion, Kind: corev1.HistoryKind},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatUint(h.Revision, 10)},
		Horizon:  strconv.FormatUint(h.Horizon, 10), More: h.More, Items: []corev1.Revision{},
	}
	add := func(kind string, key store.Key, revision uint64, data, prev []byte) error {
		r := corev1.Revision{ResourceVersion: strconv.FormatUint(revision, 10), Type: kind}
		r.Namespace, r.Name = splitKey(q.kind.Bucket, key)
		if kind != corev1.Removed {
			attributeChange(&r, data, prev)
		}
		if note, ok := h.Notes[revision]; ok && kind == corev1.Removed {
			readNote(&r, note)
		}
		if kind == corev1.Modified {
			var err error
			if r.Changed, err = changedFields(prev, data); err != nil {
				return err
			}
		}
		if objects {
			data, err := q.kind.present(data)
			if err != nil {
				return err
			}
			r.Object = data
		}
		out.Items = append(out.Items, r)
		return nil
	}
	if o := h.First; o != nil {
		if err := add(corev1.Existing, o.Key, o.Revision, o.Data, nil); err != nil {
			return nil, err
		}
	}
	for _, ev := range h.Changes {
		kind := map[store.EventType]string{store.Added: corev1.Added, store.Modified: corev1.Modified, store.Deleted: corev1.Removed}[ev.Type]
		if err := add(kind, ev.Key, ev.Revision, ev.Data, ev.Prev); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deletionNote is what is kept of a deletion: when it was, and who has asked for it.
func (c *change) deletionNote() []byte {
	note := strconv.AppendInt(make([]byte, 0, 48), c.q.server.cfg.Now().Unix(), 10)
	note = append(append(note, ' '), c.q.user.Name...)
	return note[:min(len(note), store.MaxNoteBytes)]
}

func readNote(r *corev1.Revision, note []byte) {
	at, user, _ := strings.Cut(string(note), " ")
	if n, err := strconv.ParseInt(at, 10, 64); err == nil {
		r.Time = &metav1.Time{Time: time.Unix(n, 0).UTC()}
	}
	r.User = strings.ToValidUTF8(user, "")
}

// attributeChange tells from managedFields who made a change: those whose entries are of
// another time than before, or else, for changes within a second, have got more fields. Who
// has only lost fields has done nothing, nor has whose entry is older than the object was.
func attributeChange(r *corev1.Revision, data, prev []byte) {
	before, since := map[string]int{}, "" // the length of entries, and the newest time
	eachManager(prev, func(id string, e gjson.Result) { before[id], since = len(e.Raw), max(since, e.Get("time").Str) })
	var fresh, grown []gjson.Result
	eachManager(data, func(id string, e gjson.Result) {
		if n, there := before[id]; !there && e.Get("time").Str >= since {
			fresh = append(fresh, e)
		} else if there && len(e.Raw) > n {
			grown = append(grown, e)
		}
	})
	if len(fresh) == 0 {
		fresh = grown
	}
	var newest time.Time
	for _, e := range fresh {
		if m := e.Get("manager").Str; !slices.Contains(r.Managers, m) {
			r.Managers = append(r.Managers, m)
		}
		if t, err := time.Parse(time.RFC3339, e.Get("time").Str); err == nil && !t.Before(newest) {
			newest, r.Subresource = t, e.Get("subresource").Str
		}
	}
	if !newest.IsZero() {
		r.Time = &metav1.Time{Time: newest}
	}
}

// eachManager calls fn with the entries of an object's managedFields and what tells them apart.
func eachManager(data []byte, fn func(id string, e gjson.Result)) {
	gjson.GetBytes(data, "metadata.managedFields").ForEach(func(_, e gjson.Result) bool {
		id := ""
		for _, f := range [...]string{"manager", "operation", "apiVersion", "subresource", "time"} {
			id += e.Get(f).Str + "\x00"
		}
		fn(id, e)
		return true
	})
}

// maxChangedFields bounds what is said of one change.
const maxChangedFields = 64

// changedFields lists the paths of the fields in which two states of an object differ.
func changedFields(before, after []byte) ([]string, error) {
	a, err := jsontree.DecodeShared(before)
	if err != nil {
		return nil, fmt.Errorf("decode a stored object: %w", err)
	}
	b, err := jsontree.DecodeShared(after)
	if err != nil {
		return nil, fmt.Errorf("decode a stored object: %w", err)
	}
	for _, o := range []*jsontree.Object{a, b} {
		delete(jsontree.Map(o.Tree, "metadata"), "resourceVersion")
	}
	out := differences(nil, "", a.Tree, b.Tree)
	if len(out) == 0 && !bytes.Equal(a.ManagedFields, b.ManagedFields) {
		return []string{".metadata.managedFields"}, nil
	}
	if len(out) > maxChangedFields {
		out = append(out[:maxChangedFields], "…")
	}
	return out, nil
}

// differences appends the paths at which trees differ.
func differences(out []string, path string, a, b any) []string {
	if jsontree.Equal(a, b) {
		return out
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			break
		}
		var names []string
		for n := range a {
			names = append(names, n)
		}
		for n := range b {
			if _, both := a[n]; !both {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		for _, n := range names {
			at := path + "." + n
			if strings.ContainsAny(n, "./") {
				at = path + "[" + strconv.Quote(n) + "]"
			}
			if before, there := a[n]; !there {
				out = append(out, at)
			} else if after, still := b[n]; !still {
				out = append(out, at)
			} else {
				out = differences(out, at, before, after)
			}
		}
		return out
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			out = differences(out, path+"["+strconv.Itoa(i)+"]", a[i], b[i])
		}
		return out
	}
	return append(out, path)
}
