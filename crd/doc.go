// Package crd holds what a resource type is: its names, scope, versions, schema,
// subresources, printer columns and selectable fields, as data. Kubernetes' own types,
// a plugin's and those of CustomResourceDefinitions are all a [Definition] and are
// registered through the same call (see crd/registry).
//
// It must know nothing about storage, HTTP or plugins, and name no kind.
package crd
