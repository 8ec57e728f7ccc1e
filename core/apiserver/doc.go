// Package apiserver is the way of a request: it authenticates, authorizes, routes by the
// registry, and turns Kubernetes' verbs into reads, writes and watches of the store.
//
// Bytes come first. What is stored is what is served: a get copies stored bytes, a list
// concatenates them, a watch frame is the stored object between two constants. Only a
// write decodes JSON, once, to a tree that defaulting, hooks, managed fields and
// validation share.
//
// It must not name a resource type (the namespace type is an option of [Config]), and
// must not know how the store replicates, where types come from, or what a plugin is.
package apiserver
