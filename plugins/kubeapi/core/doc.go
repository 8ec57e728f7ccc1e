// Package core has the types of the core group ("" v1): their definitions, the hooks of
// pods, services, namespaces and the rest, and their tables.
//
// It must know nothing of other groups' kinds but what admission of a pod reads of them.
package core
