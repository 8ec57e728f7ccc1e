// Package tree reads and changes JSON trees (map[string]any, []any, string, bool, int64,
// float64, nil) without converting them: what hooks on the write path do.
//
// It must know nothing of kinds.
package tree
