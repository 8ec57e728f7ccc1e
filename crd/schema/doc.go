// Package schema compiles structural schemas to what a write needs: defaulting, pruning,
// validation, and the views that patches and server-side apply ask for.
//
// It must know nothing of kinds, storage or HTTP.
package schema
