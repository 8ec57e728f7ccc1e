package auth

import "github.com/pintle-dev/pintle/sdk/resource"

// Attributes are what an authorizer decides about.
type Attributes struct {
	User resource.User
	// Verb is get, list, watch, create, update, patch, delete, deletecollection, or the
	// lower-case HTTP method for non-resource paths.
	Verb string
	// Group, Version, Resource, Subresource, Namespace and Name of a resource request.
	Group, Version, Resource, Subresource, Namespace, Name string
	// Path of a request; decisive where Resource is empty.
	Path string
	// FieldSelector and LabelSelector of lists, watches and deletions of collections, as
	// text. They narrow what is asked for.
	FieldSelector, LabelSelector string
}
