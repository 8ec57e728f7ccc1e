// Package customresources makes CustomResourceDefinitions take effect: it watches them in
// the store, registers the types they define, sets their conditions, and deletes a type's
// objects before its definition goes.
//
// It must not know HTTP, nor any type that is defined.
package customresources
