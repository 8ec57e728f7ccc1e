package review

import (
	"context"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Rules lists what a user may do in a namespace; *rbac.Authorizer implements it.
type Rules interface {
	Rules(user resource.User, namespace string) []rbacv1.PolicyRule
}

// Tokens verifies bearer tokens of all sorts; *auth.Authenticator implements it.
type Tokens interface {
	AuthenticateToken(ctx context.Context, token string, audiences []string) (auth.TokenUser, bool, error)
}

// Config of the bundle.
type Config struct {
	Authorizer auth.Authorizer
	Rules      Rules
	Tokens     Tokens
	// Audiences of the API server, for which tokens are reviewed when none is asked for.
	Audiences []string
	// Schemas gives the kinds' schemas; nil means that any fields are accepted.
	Schemas func(runtimeschema.GroupVersionKind) (*schema.Schema, error)
}

// New returns the bundle of the review types.
func New(cfg Config) resource.Bundle { return bundle{&cfg} }

func singular(kind string) string { return strings.ToLower(kind) }

// decode reads the object of a request.
func decode(r *resource.Request, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.Object, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

// answer returns the object with its status set.
func answer(r *resource.Request, status any) (map[string]any, error) {
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	r.Object["status"] = tree
	return r.Object, nil
}
