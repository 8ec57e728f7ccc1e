// Package aggregation lets other servers take part in the API. It follows the APIServices:
// those that name a Service are proxied to it, those of a plugin to that plugin, their
// availability is checked and shown, and
// their discovery and OpenAPI are there for the documents of this server. Of each group and
// version that this server serves itself it keeps an APIService that says so.
//
// It must not know any type but APIService, nor how a request was authenticated and
// authorized.
package aggregation
