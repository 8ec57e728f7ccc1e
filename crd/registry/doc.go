// Package registry says which resource types are served: it holds the definitions, finds
// the type behind a resource or a kind, and gives discovery an ordered picture of all.
//
// It must not know what any type is for, nor how objects are stored or served.
package registry
