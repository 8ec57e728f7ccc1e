// Package namespace empties namespaces that are being deleted, pods first, reports what
// remains in their conditions, and lets them go when nothing does.
package namespace
