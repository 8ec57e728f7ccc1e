// Package mergetree applies JSON merge patches (RFC 7396) to trees.
//
// It must not know kinds.
package mergetree

import "github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"

// Merge returns target with a patch applied: a null removes, an object merges, anything
// else replaces. Neither argument is changed, and the result shares no object or list
// with them.
func Merge(target, patch map[string]any) map[string]any {
	out := make(map[string]any, len(target)+len(patch))
	for k, v := range target {
		if _, patched := patch[k]; !patched {
			out[k] = jsontree.Copy(v)
		}
	}
	for k, p := range patch {
		switch p := p.(type) {
		case nil:
		case map[string]any:
			t, _ := target[k].(map[string]any)
			out[k] = Merge(t, p)
		default:
			out[k] = jsontree.Copy(p)
		}
	}
	return out
}
