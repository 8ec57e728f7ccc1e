// Package objects serves a group version from objects in memory, as an API service with data of
// its own wants: list, get and watch, tables, field and label selectors, discovery and OpenAPI,
// and deletes where the author takes them. kubectl and client-go work with it as with any type.
//
// An author makes a [Store] for each type, puts objects into it as they change, and returns
// [Handler] from apiservice.Serve. Nothing is kept across a restart.
//
// It must not know where the objects come from.
package objects
