package review

import (
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

// Config of the bundle.
type Config struct {
	Authenticator *auth.Authenticator
	Authorizer    auth.Authorizer
	Rules         *rbac.Authorizer
	// Schemas gives the kinds' schemas; nil means that any fields are accepted.
	Schemas func(runtimeschema.GroupVersionKind) (*schema.Schema, error)
}

// New returns the bundle of the review types.
func New(cfg Config) resource.Bundle { return nil }

// TokenRequest returns the hook (a resource.Subresourcer) of serviceaccounts/token.
func TokenRequest(s *tokens.Service) resource.Subresourcer { return nil }
