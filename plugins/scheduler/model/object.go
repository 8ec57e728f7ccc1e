package model

import (
	"strings"
	"unique"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// intern returns s without keeping alive the bytes it was cut from; equal strings are
// stored once.
func intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}

// decodeMeta reads the metadata that scheduling needs.
func decodeMeta(meta gjson.Result, into *metav1.ObjectMeta) {
	meta.ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "name":
			into.Name = cloned(v)
		case "namespace":
			into.Namespace = intern(v.Str)
		case "uid":
			into.UID = types.UID(cloned(v))
		case "resourceVersion":
			into.ResourceVersion = cloned(v)
		case "labels":
			into.Labels = stringMap(v)
		case "annotations":
			// Only the mark at the end of the initial events of a watch is of interest.
			if end := v.Get(gjson.Escape(metav1.InitialEventsAnnotationKey)); end.Exists() {
				into.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end.String()}
			}
		case "deletionTimestamp":
			if t, err := parseTime(v.Str); err == nil {
				into.DeletionTimestamp = &t
			}
		}
		return true
	})
}

func parseTime(s string) (metav1.Time, error) {
	var t metav1.Time
	err := t.UnmarshalQueryParameter(s)
	return t, err
}

func cloned(v gjson.Result) string { return strings.Clone(v.Str) }

func stringMap(v gjson.Result) map[string]string {
	if !v.IsObject() {
		return nil
	}
	m := map[string]string{}
	v.ForEach(func(k, v gjson.Result) bool {
		m[intern(k.Str)] = intern(v.Str)
		return true
	})
	if len(m) == 0 {
		return nil
	}
	return m
}

// Namespace is what scheduling knows of a namespace: its labels, for the
// namespaceSelector of affinity terms.
type Namespace struct {
	metav1.ObjectMeta
}

var _ runtime.Object = (*Namespace)(nil)

// GetObjectKind satisfies runtime.Object; the kind is not kept.
func (n *Namespace) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns n itself: objects of this package are not changed once decoded.
func (n *Namespace) DeepCopyObject() runtime.Object { return n }

// DecodeNamespace reads a namespace from JSON known to be valid.
func DecodeNamespace(raw string) (*Namespace, error) {
	n := &Namespace{}
	decodeMeta(gjson.Parse(raw).Get("metadata"), &n.ObjectMeta)
	return n, nil
}

// List is a list of objects of this package.
type List struct {
	metav1.ListMeta
	Items []runtime.Object
}

var _ runtime.Object = (*List)(nil)

// GetObjectKind satisfies runtime.Object; the kind is not kept.
func (l *List) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns l itself.
func (l *List) DeepCopyObject() runtime.Object { return l }
