// Package protobuf turns JSON objects into Kubernetes' protobuf and back, by way of the
// kinds' Go types.
//
// It must not know which kinds there are; a function of the caller makes their values.
package protobuf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	sigsjson "sigs.k8s.io/json"
)

// GoTypes makes an empty value of a kind.
type GoTypes func(schema.GroupVersionKind) (runtime.Object, bool)

var magic = []byte{'k', '8', 's', 0}

type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// Offers reports whether a kind has protobuf.
func (g GoTypes) Offers(gvk schema.GroupVersionKind) bool {
	o, ok := g(gvk)
	if !ok {
		return false
	}
	_, ok = o.(message)
	return ok
}

// Raw encodes a JSON object of a kind as a bare message.
func (g GoTypes) Raw(gvk schema.GroupVersionKind, data []byte) ([]byte, error) {
	o, ok := g(gvk)
	if !ok {
		return nil, fmt.Errorf("%s has no protobuf", gvk)
	}
	return marshal(o, data)
}

func marshal(o any, data []byte) ([]byte, error) {
	m, ok := o.(message)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf", o)
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(data, o); err != nil {
		return nil, fmt.Errorf("decode a stored object as %T: %w", o, err)
	}
	b, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %T as protobuf: %w", o, err)
	}
	return b, nil
}

// Metadata encodes a JSON PartialObjectMetadata as a bare message.
func Metadata(data []byte) ([]byte, error) { return marshal(&metav1.PartialObjectMetadata{}, data) }

// Envelope wraps a bare message with its kind.
func Envelope(gvk schema.GroupVersionKind, raw []byte) ([]byte, error) {
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind}, Raw: raw}
	b := make([]byte, len(magic)+u.Size())
	copy(b, magic)
	if _, err := u.MarshalTo(b[len(magic):]); err != nil {
		return nil, fmt.Errorf("encode %s: %w", gvk, err)
	}
	return b, nil
}

// AppendItem appends a bare message to the items of a list message.
func AppendItem(list, item []byte) []byte {
	list = append(list, 2<<3|2)
	list = binary.AppendUvarint(list, uint64(len(item)))
	return append(list, item...)
}

// List starts a list message.
func List(meta *metav1.ListMeta) ([]byte, error) {
	m, err := meta.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode list metadata: %w", err)
	}
	b := append(make([]byte, 0, len(m)+16), 1<<3|2)
	b = binary.AppendUvarint(b, uint64(len(m)))
	return append(b, m...), nil
}

// Frame makes a frame of a watch from an event's type and its object in an envelope.
func Frame(event string, object []byte) ([]byte, error) {
	e := metav1.WatchEvent{Type: event, Object: runtime.RawExtension{Raw: object}}
	b := make([]byte, 4+e.Size())
	n, err := e.MarshalTo(b[4:])
	if err != nil {
		return nil, fmt.Errorf("encode a watch event: %w", err)
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	return b[:4+n], nil
}

// Status encodes a Status in an envelope.
func Status(s *metav1.Status) ([]byte, error) {
	raw, err := s.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode a status: %w", err)
	}
	return Envelope(schema.GroupVersionKind{Version: "v1", Kind: "Status"}, raw)
}

// ErrNotProtobuf says that a body has not the prefix of Kubernetes' protobuf.
var ErrNotProtobuf = fmt.Errorf("provided data does not appear to be a protobuf message, expected prefix %v", magic)

// Decode turns a body into JSON. The kind is the body's own, or expect where it has none.
func (g GoTypes) Decode(body []byte, expect schema.GroupVersionKind) ([]byte, error) {
	if !bytes.HasPrefix(body, magic) {
		return nil, ErrNotProtobuf
	}
	var u runtime.Unknown
	if err := u.Unmarshal(body[len(magic):]); err != nil {
		return nil, fmt.Errorf("decode the protobuf envelope: %w", err)
	}
	gvk := expect
	if u.Kind != "" {
		gvk = schema.FromAPIVersionAndKind(u.APIVersion, u.Kind)
	}
	var o any
	switch gvk.Kind {
	case "DeleteOptions":
		o = &metav1.DeleteOptions{}
	default:
		v, ok := g(gvk)
		if !ok {
			return nil, fmt.Errorf("no kind %q is registered for version %q in protobuf", gvk.Kind, gvk.GroupVersion())
		}
		v.GetObjectKind().SetGroupVersionKind(gvk)
		o = v
	}
	m, ok := o.(message)
	if !ok {
		return nil, fmt.Errorf("%s has no protobuf", gvk)
	}
	if err := m.Unmarshal(u.Raw); err != nil {
		return nil, fmt.Errorf("decode %s: %w", gvk.Kind, err)
	}
	if v, ok := o.(runtime.Object); ok {
		v.GetObjectKind().SetGroupVersionKind(gvk)
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", gvk.Kind, err)
	}
	return b, nil
}
