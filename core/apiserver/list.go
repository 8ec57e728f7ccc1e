package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/apiserver/internal/selector"
	"github.com/pintle-dev/pintle/core/apiserver/internal/table"
	"github.com/pintle-dev/pintle/core/store"
)

// continueToken says where the next page of a list begins.
type continueToken struct {
	Revision uint64    `json:"rv"`
	After    store.Key `json:"after"`
}

func (t continueToken) String() string {
	b, _ := json.Marshal(t) // a struct of a number and a string
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseContinue(text string) (continueToken, error) {
	var t continueToken
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err == nil && t.After == "" {
		err = errors.New("it must be one that this server gave")
	}
	if err != nil {
		return t, apierrors.NewBadRequest(fmt.Sprintf("invalid continue token: continue key is not valid: %v", err))
	}
	return t, nil
}

// listed is the part of a list that one answer has.
type listed struct {
	objects []store.Object
	// rest reads what follows objects, nil at its end, where not everything was read at once.
	rest      func() ([]store.Object, error)
	revision  uint64
	next      string // continue token
	remaining *int64
}

// selector of the request, with a name of the path as a field.
func (q *request) selector() (selector.Selector, error) {
	fieldText := q.query.Get("fieldSelector")
	s, err := selector.Parse(q.query.Get("labelSelector"), fieldText, q.kind.selectable)
	if err != nil {
		var unknown selector.UnknownField
		if errors.As(err, &unknown) && q.kind.builtin && len(q.kind.fields) == 0 {
			err = fmt.Errorf(`%q is not a known field selector: only "metadata.name", "metadata.namespace"`, string(unknown))
		}
		return s, apierrors.NewBadRequest(err.Error())
	}
	if q.route.name != "" && s.Name() == "" {
		if fieldText != "" {
			fieldText += ","
		}
		s, err = selector.Parse(q.query.Get("labelSelector"), fieldText+"metadata.name="+q.route.name, q.kind.selectable)
	}
	if err != nil {
		return s, apierrors.NewBadRequest(err.Error())
	}
	return s, nil
}

func (q *request) list() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	q.inPieces = q.canStream()
	l, err := q.collect()
	if err != nil {
		return err
	}
	return q.respondList(l)
}

// collect reads what a list or deletecollection selects.
func (q *request) collect() (listed, error) {
	var l listed
	o, err := q.listOptions()
	if err != nil {
		return l, err
	}
	sel, err := q.selector()
	if err != nil {
		return l, err
	}
	limit := int(max(o.Limit, 0))
	opts, err := q.listAt()
	if err != nil {
		return l, err
	}
	return q.read(sel, limit, opts)
}

// listAt says at which revision to read, and behind which key.
func (q *request) listAt() (store.ListOptions, error) {
	var opts store.ListOptions
	version, match := q.query.Get("resourceVersion"), q.query.Get("resourceVersionMatch")
	token := q.query.Get("continue")
	if token != "" {
		if version != "" && version != "0" {
			return opts, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		t, err := parseContinue(token)
		if err != nil {
			return opts, err
		}
		opts.After, opts.Revision = t.After, t.Revision
		if t.Revision > 0 {
			return opts, q.waitFor(t.Revision)
		}
		return opts, nil
	}
	if err := q.fresh(version); err != nil {
		return opts, err
	}
	exact := match == string(metav1.ResourceVersionMatchExact) ||
		match == "" && version != "" && version != "0" && q.query.Get("limit") != ""
	if exact {
		rv, err := parseRevision(version)
		if err != nil {
			return opts, err
		}
		opts.Revision = rv
	}
	return opts, nil
}

// pageSize is how many objects are read at once where a selector may drop most of them.
const pageSize = 1000

func (q *request) read(sel selector.Selector, limit int, opts store.ListOptions) (listed, error) {
	var l listed
	prefix := q.kind.prefix(q.route.namespace)
	if name := sel.Name(); name != "" && (q.route.namespace != "" || !q.kind.namespaced) && opts.Revision == 0 && opts.After == "" {
		return q.readOne(sel, name)
	}
	opts.Limit = limit
	if q.inPieces && limit == 0 && sel.Empty() {
		return q.readPieces(prefix, opts)
	}
	if limit > 0 && !sel.Empty() {
		opts.Limit = max(limit, pageSize)
	}
	for {
		ctx, end := q.server.step(q.ctx, "list from the store")
		snap, err := q.server.cfg.Store.List(ctx, prefix, opts)
		end()
		if err != nil {
			return l, q.listError(err, opts)
		}
		if err := q.kind.presentAll(q.ctx, snap.Objects); err != nil {
			return l, err
		}
		l.revision = snap.Revision
		if sel.Empty() {
			l.objects = snap.Objects
			if snap.More {
				last := snap.Objects[len(snap.Objects)-1].Key
				l.next = continueToken{snap.Revision, last}.String()
				if snap.Remaining >= 0 {
					l.remaining = &snap.Remaining
				}
			}
			return l, nil
		}
		for i := range snap.Objects {
			o := &snap.Objects[i]
			opts.After = o.Key
			selected, err := q.kind.selects(&sel, o.Data)
			if err != nil {
				return l, err
			}
			if !selected {
				continue
			}
			l.objects = append(l.objects, *o)
			if limit > 0 && len(l.objects) == limit && (snap.More || i < len(snap.Objects)-1) {
				l.next = continueToken{snap.Revision, o.Key}.String()
				return l, nil
			}
		}
		if !snap.More {
			return l, nil
		}
		opts.Revision = snap.Revision
	}
}

// readOne answers a list that selects one name.
func (q *request) readOne(sel selector.Selector, name string) (listed, error) {
	s := q.server.cfg.Store
	// The revision is taken first: an answer must not be older than it says.
	l := listed{revision: s.Revision()}
	o, err := s.Get(q.ctx, q.kind.key(q.route.namespace, name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return l, nil
	case err != nil:
		return l, fmt.Errorf("read %s %q: %w", q.kind.gr, name, err)
	}
	l.revision = max(l.revision, o.Revision)
	one := []store.Object{o}
	if err := q.kind.presentAll(q.ctx, one); err != nil {
		return l, err
	}
	o = one[0]
	selected, err := q.kind.selects(&sel, o.Data)
	if selected {
		l.objects = []store.Object{o}
	}
	return l, err
}

func (q *request) listError(err error, opts store.ListOptions) error {
	switch {
	case errors.Is(err, store.ErrCompacted) && opts.After != "":
		e := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
		e.ErrStatus.ListMeta.Continue = continueToken{0, opts.After}.String()
		return e
	case errors.Is(err, store.ErrCompacted):
		return apierrors.NewResourceExpired(fmt.Sprintf("The resourceVersion for the provided list is too old: %d", opts.Revision))
	case errors.Is(err, store.ErrFutureRevision):
		return tooLarge(opts.Revision, q.server.cfg.Store.Revision())
	}
	return fmt.Errorf("list %s: %w", q.kind.gr, err)
}

// respondList answers in the negotiated form, without the whole of it in memory where it
// is JSON.
func (q *request) respondList(l listed) error {
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatUint(l.revision, 10), Continue: l.next, RemainingItemCount: l.remaining}
	if err := q.auditList(l, &meta); err != nil {
		return err
	}
	if q.accept.Format == media.Protobuf {
		return q.respondProtobufList(l, &meta)
	}
	head, tail, item, err := q.listForm(&meta)
	if err != nil {
		return err
	}
	if q.accept.Format == media.YAML || q.accept.Pretty {
		return q.respondWholeList(head, tail, item, l)
	}
	h := q.w.Header()
	h.Set("Content-Type", media.TypeJSON)
	q.writeWarnings()
	size := len(head) + len(tail)
	for i := range l.objects {
		size += len(l.objects[i].Data) + 1
	}
	if l.rest != nil {
		size = math.MaxInt // It is large enough to be read in pieces.
	}
	if size > bufferedBytes {
		defer q.boundAnswer()()
	}
	var out io.Writer = q.w
	if q.compress(size) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		z := gzipWriter(q.w)
		defer putGzip(z)
		out = z
	}
	buf, _ := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	b := append((*buf)[:0], head...)
	for piece, first := l.objects, true; len(piece) > 0; {
		for i := range piece {
			if !first {
				b = append(b, ',')
			}
			first = false
			if b, err = item(b, piece[i]); err != nil {
				return err
			}
			if len(b) >= chunkSize-chunkSlack {
				q.wrote = true
				if _, err := out.Write(b); err != nil {
					return fmt.Errorf("the client has gone: %w", err)
				}
				b = b[:0]
			}
		}
		if piece = nil; l.rest != nil {
			if piece, err = l.rest(); err != nil {
				return err
			}
		}
	}
	b = append(b, tail...)
	_, err = out.Write(b)
	if cap(b) <= 4*chunkSize {
		*buf = b
	}
	return err
}

// chunkSize is how much of a list is written at once.
const (
	chunkSize  = 64 << 10
	chunkSlack = 8 << 10
)

var chunks = sync.Pool{New: func() any {
	b := make([]byte, 0, chunkSize)
	return &b
}}

type appendItem func(b []byte, o store.Object) ([]byte, error)

// listForm returns what is before, behind and at each object of a list.
func (q *request) listForm(meta *metav1.ListMeta) (head, tail []byte, item appendItem, err error) {
	k := q.kind
	metaText, err := json.Marshal(meta)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encode list metadata: %w", err)
	}
	if !k.builtin && meta.Continue == "" && q.accept.View == media.Full {
		metaText = append([]byte(`{"continue":"",`), metaText[1:]...) // as lists without a Go type have it
	}
	switch q.accept.View {
	case media.Table:
		p, err := k.printer()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("printer columns of %s: %w", k.GVK, err)
		}
		now, include := q.server.cfg.Now(), q.includeObject()
		head = p.Begin(nil, q.accept.Version, string(metaText), true)
		return head, []byte(`]}`), func(b []byte, o store.Object) ([]byte, error) {
			data, err := k.presentListed(o.Data)
			if err != nil {
				return b, err
			}
			return p.Row(b, data, now, include, q.accept.Version)
		}, nil
	case media.Metadata:
		head = append(head, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/`...)
		head = append(head, q.accept.Version...)
		head = append(head, `","metadata":`...)
		head = append(append(head, metaText...), `,"items":[`...)
		return head, []byte(`]}`), func(b []byte, o store.Object) ([]byte, error) {
			return table.Partial(b, o.Data, q.accept.Version), nil
		}, nil
	}
	head = append(head, `{"kind":`...)
	head = jsontree.AppendString(head, k.Definition.Names.ListKind)
	head = append(head, `,"apiVersion":`...)
	head = jsontree.AppendString(head, k.apiVersion)
	head = append(head, `,"metadata":`...)
	head = append(append(head, metaText...), `,"items":[`...)
	return head, []byte("]}\n"), func(b []byte, o store.Object) ([]byte, error) {
		data, err := k.presentListed(o.Data)
		return append(b, data...), err
	}, nil
}

func (q *request) includeObject() string {
	if v := q.query.Get("includeObject"); v != "" {
		return v
	}
	return "Metadata"
}

func (q *request) respondWholeList(head, tail []byte, item appendItem, l listed) error {
	b := head
	var err error
	for i := range l.objects {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = item(b, l.objects[i]); err != nil {
			return err
		}
	}
	b = append(b, tail...)
	if q.accept.Format == media.YAML {
		if b, err = yaml.JSONToYAML(b); err != nil {
			return fmt.Errorf("encode as YAML: %w", err)
		}
		q.write(http.StatusOK, media.TypeYAML, b)
		return nil
	}
	return q.respondAs(http.StatusOK, schema.GroupVersionKind{}, b, nil)
}

// respondProtobufList builds the list's message from the items' messages. Every list of
// Kubernetes has its metadata in field 1 and its items in field 2.
func (q *request) respondProtobufList(l listed, meta *metav1.ListMeta) error {
	b, err := protobuf.List(meta)
	if err != nil {
		return err
	}
	for i := range l.objects {
		o := l.objects[i]
		data, err := q.kind.presentListed(o.Data)
		if err != nil {
			return err
		}
		raw, err := q.protobuf(o, data)
		if err != nil {
			return err
		}
		b = protobuf.AppendItem(b, raw)
	}
	gvk := q.kind.ListGVK()
	if q.accept.View == media.Metadata {
		gvk = schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: "PartialObjectMetadataList"}
	}
	return q.respondAs(http.StatusOK, gvk, nil, b)
}

// tableOf makes a table of one object.
func (q *request) tableOf(data []byte, columns bool) ([]byte, error) {
	p, err := q.kind.printer()
	if err != nil {
		return nil, fmt.Errorf("printer columns of %s: %w", q.kind.GVK, err)
	}
	meta := "{}"
	if rv := revisionOf(data); rv != "" {
		meta = `{"resourceVersion":"` + rv + `"}`
	}
	b := p.Begin(nil, q.accept.Version, meta, columns)
	if b, err = p.Row(b, data, q.server.cfg.Now(), q.includeObject(), q.accept.Version); err != nil {
		return nil, err
	}
	return append(b, `]}`...), nil
}
