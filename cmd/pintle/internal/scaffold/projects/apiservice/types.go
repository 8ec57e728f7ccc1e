package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/sdk/apiservice/objects"
)

var groupVersion = schema.GroupVersion{Group: "example.dev", Version: "v1"}

// Gizmo is how full one file system is.
type Gizmo struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// Path that it was looked at by.
	Path string `json:"path"`
	// Size and Free are bytes.
	Size int64 `json:"size"`
	Free int64 `json:"free"`
}

// DeepCopyObject implements runtime.Object.
func (g *Gizmo) DeepCopyObject() runtime.Object {
	out := *g
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// explained is what kubectl explain shows.
const explained = `{
	"description": "Gizmo is how full one file system is.",
	"properties": {
		"path": {"type": "string", "description": "Path that it was looked at by."},
		"size": {"type": "integer", "format": "int64", "description": "Its size in bytes."},
		"free": {"type": "integer", "format": "int64", "description": "Bytes that are free in it."}
	}
}`

// gizmos says how they are asked for and shown. A Delete of their own would make them deletable.
func gizmos() objects.Type {
	return objects.Type{
		Kind: "Gizmo", Plural: "gizmos", Schema: []byte(explained),
		Columns: []metav1.TableColumnDefinition{
			{Name: "Path", Type: "string"}, {Name: "Size", Type: "integer"}, {Name: "Free", Type: "integer"},
		},
		Cells: func(o objects.Object) []any {
			g, ok := o.(*Gizmo)
			if !ok {
				return nil
			}
			return []any{g.Path, g.Size, g.Free}
		},
	}
}
