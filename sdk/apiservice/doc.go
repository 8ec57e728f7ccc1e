// Package apiservice is the extension point for plugins that serve a version of an API group
// themselves, as metrics.k8s.io is served: from data that is not stored in the cluster, or with
// verbs that a resource type does not have. The API server sends it the requests for the group
// version, shows it in discovery and OpenAPI, and keeps its APIService object.
//
// A plugin gives an http.Handler. Package objects has one for objects in memory.
//
// It must not know what is served, nor who the host is.
package apiservice
