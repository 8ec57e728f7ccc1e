// Package authorization is the extension point for authorization: a plugin decides what users
// may do, beside the cluster's own RBAC. It must not know how requests are authenticated.
//
// The operator's configuration says when a plugin is asked: before RBAC, where it can deny what
// RBAC would allow, or after it, where it can only add. Members of system:masters are never
// asked about.
package authorization

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Authorizer is a plugin that decides what users may do.
type Authorizer interface {
	plugin.Plugin
	// Authorize decides about one request. reason is shown to the user where the request is
	// not allowed in the end. An error means that it could not be decided; what that means
	// is in the operator's configuration. It may be called at the same time, and its
	// decisions are remembered by the host for as long as the operator has set.
	Authorize(ctx context.Context, a Attributes) (decision Decision, reason string, err error)
}

// Decision is what an authorizer thinks of a request.
type Decision int

// The decisions.
const (
	// NoOpinion leaves it to others.
	NoOpinion Decision = iota
	// Allow allows the request; others are not asked.
	Allow
	// Deny forbids the request whatever others think.
	Deny
)

// String names a decision.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	default:
		return "NoOpinion"
	}
}

// Attributes are what is decided about.
type Attributes struct {
	User resource.User
	// Verb is get, list, watch, create, update, patch, delete, deletecollection, or the
	// lower-case HTTP method for paths that are no resources.
	Verb string
	// Group, Version, Resource, Subresource, Namespace and Name of a request for a resource.
	Group, Version, Resource, Subresource, Namespace, Name string
	// Path of any other request; Resource is empty then.
	Path string
	// FieldSelector and LabelSelector of lists, watches and deletions of collections, as
	// text. They narrow what is asked for.
	FieldSelector, LabelSelector string
}

// IsResource reports whether the request is for a resource.
func (a *Attributes) IsResource() bool { return a.Resource != "" }
