// Package model holds what a scheduler needs to know of pods, nodes and namespaces, and
// decodes it straight from the bytes of the API. An object is read once, fields that
// scheduling does not look at are never built, and strings that repeat are shared.
//
// It must not know how objects arrive nor what is decided about them.
package model
