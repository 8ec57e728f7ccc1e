// Package jsontree decodes JSON objects to trees of map[string]any, []any, string, bool,
// int64, float64 and nil, and encodes trees canonically: keys sorted, no white space.
//
// An object's metadata.managedFields are most of its bytes and seldom of interest, so
// they are kept as bytes and not decoded to a tree; and the encoder leaves the place of
// metadata.resourceVersion open for the store, which alone knows the value.
//
// It must not know what any field means besides those two.
package jsontree
