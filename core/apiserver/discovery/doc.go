// Package discovery answers what resources there are: /api, /apis and what is below them,
// both one document per group version and aggregated. Documents are made once for each
// state of the registry.
//
// It must not know any resource type, nor how objects are served.
package discovery
