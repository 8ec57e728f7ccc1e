// Package managedfields keeps metadata.managedFields: which client owns which field.
//
// Server-side apply itself is upstream's (k8s.io/apimachinery/pkg/util/managedfields over
// structured-merge-diff). Creates and updates, which are most writes, take a way of their
// own: a create writes the field set as JSON straight from a walk of the object, and an
// update walks old and new together, skips what is equal, and changes only the entries
// that the difference touches. The result is what upstream's tracking gives.
//
// It must not know how objects are stored or served, nor any kind.
package managedfields
