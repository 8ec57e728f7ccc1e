package apiserver

import (
	"strconv"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/apiserver/internal/table"
	"github.com/pintle-dev/pintle/core/store"
)

// The types of watch events.
const (
	eventAdded    = "ADDED"
	eventModified = "MODIFIED"
	eventDeleted  = "DELETED"
	eventBookmark = "BOOKMARK"
	eventError    = "ERROR"
)

// framer encodes the events of a watch. JSON frames are the stored object between
// constants and cost a copy; other forms are made once per event and kept with it.
type framer struct {
	q           *request
	contentType string
	// sentColumns: only the first table of a watch says its columns.
	sentColumns *bool
}

func (q *request) newFramer() (framer, error) {
	f := framer{q: q, contentType: media.TypeJSON, sentColumns: new(bool)}
	if q.accept.Format == media.Protobuf {
		f.contentType = media.TypeProtobuf + ";stream=watch"
	}
	if q.accept.View == media.Table {
		if _, err := q.kind.printer(); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *framer) append(b []byte, e *store.Event, kind string) ([]byte, error) {
	switch {
	case f.q.accept.Format == media.Protobuf:
		frame, err := e.Frames.Get(f.name("pb", kind), func() ([]byte, error) {
			raw, err := f.protobuf(e)
			if err != nil {
				return nil, err
			}
			return protobuf.Frame(kind, raw)
		})
		return append(b, frame...), err
	case f.q.accept.View == media.Metadata:
		frame, err := e.Frames.Get("meta/"+f.q.accept.Version, func() ([]byte, error) {
			return table.Partial(nil, e.Data, f.q.accept.Version), nil
		})
		return appendJSONFrame(b, kind, frame), err
	case f.q.accept.View == media.Table:
		data, err := f.q.kind.present(e.Data)
		if err != nil {
			return b, err
		}
		t, err := f.q.tableOf(data, !*f.sentColumns)
		if err != nil {
			return b, err
		}
		*f.sentColumns = true
		return appendJSONFrame(b, kind, t), nil
	}
	if f.q.kind.asServed(e.Data) {
		return appendJSONFrame(b, kind, e.Data), nil
	}
	data, err := e.Frames.Get(f.q.kind.apiVersion, func() ([]byte, error) { return f.q.kind.present(e.Data) })
	return appendJSONFrame(b, kind, data), err
}

// name of a frame among those kept with an event.
func (f *framer) name(format, kind string) string {
	return format + "/" + f.q.kind.apiVersion + "/" + strconv.Itoa(int(f.q.accept.View)) + "/" + kind
}

func (f *framer) protobuf(e *store.Event) ([]byte, error) {
	data, err := f.q.kind.present(e.Data)
	if err != nil {
		return nil, err
	}
	gvk := f.q.kind.GVK
	if f.q.accept.View == media.Metadata {
		gvk, data = partialGVK, table.Partial(nil, data, "v1")
	}
	raw, err := f.q.server.protobufOf(gvk, data)
	if err != nil {
		return nil, err
	}
	return protobuf.Envelope(gvk, raw)
}

func appendJSONFrame(b []byte, kind string, object []byte) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, `","object":`...)
	b = append(b, object...)
	return append(b, '}', '\n')
}

func (f *framer) bookmark(b []byte, rv uint64, initialEnd bool) ([]byte, error) {
	gvk := f.q.kind.GVK
	apiVersion, kind := f.q.kind.apiVersion, gvk.Kind
	if f.q.accept.View != media.Full {
		gvk, apiVersion, kind = partialGVK, "meta.k8s.io/"+f.q.accept.Version, "PartialObjectMetadata"
	}
	o := append([]byte(nil), `{"kind":`...)
	o = jsontree.AppendString(o, kind)
	o = append(o, `,"apiVersion":`...)
	o = jsontree.AppendString(o, apiVersion)
	o = append(o, `,"metadata":{"resourceVersion":"`...)
	o = strconv.AppendUint(o, rv, 10)
	o = append(o, '"')
	if initialEnd {
		o = append(o, `,"annotations":{"k8s.io/initial-events-end":"true"}`...)
	}
	o = append(o, '}', '}')
	return f.object(b, eventBookmark, gvk, o)
}

func (f *framer) status(b, data []byte) ([]byte, error) {
	return f.object(b, eventError, statusGVK, data)
}

func (f *framer) object(b []byte, kind string, gvk schema.GroupVersionKind, data []byte) ([]byte, error) {
	if f.q.accept.Format != media.Protobuf {
		return appendJSONFrame(b, kind, data), nil
	}
	raw, err := f.q.server.protobufOf(gvk, data)
	if err != nil {
		return b, err
	}
	if raw, err = protobuf.Envelope(gvk, raw); err != nil {
		return b, err
	}
	frame, err := protobuf.Frame(kind, raw)
	return append(b, frame...), err
}

// withRevision returns stored bytes with another resourceVersion.
func withRevision(data []byte, rv uint64) []byte {
	old := gjson.GetBytes(data, "metadata.resourceVersion")
	if old.Index == 0 || old.Type != gjson.String {
		return data
	}
	out := make([]byte, 0, len(data)+8)
	out = append(out, data[:old.Index+1]...)
	out = strconv.AppendUint(out, rv, 10)
	return append(out, data[old.Index+len(old.Raw)-1:]...)
}
