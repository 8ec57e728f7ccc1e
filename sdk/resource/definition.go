package resource

import (
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// What a type is made of, under the names of this package, so that an author needs no
// other of this repository. They are the very types of crd and crd/schema.
type (
	// Definition is a resource type: all versions of one group and plural name.
	Definition = crd.Definition
	// Names are the names by which a type is known.
	Names = crd.Names
	// Version is one version of a type.
	Version = crd.Version
	// Column is a printer column.
	Column = crd.Column
	// Scale says where the parts of a scale are found.
	Scale = crd.Scale
	// Subresource is a path below an object.
	Subresource = crd.Subresource
	// Schema is a structural schema, in the JSON form of OpenAPI v3.
	Schema = schema.Schema
)

// The scopes of a type.
const (
	NamespaceScoped = crd.NamespaceScoped
	ClusterScoped   = crd.ClusterScoped
)
