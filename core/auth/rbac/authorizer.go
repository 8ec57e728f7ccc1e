package rbac

import (
	"context"
	"log/slog"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/dynamic"
)

// Store is what the index is kept from; *store.Store implements it.
type Store interface {
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
}

// Authorizer decides by roles and bindings.
type Authorizer struct{}

// New returns an Authorizer that allows nothing until Run has read the store.
func New(log *slog.Logger) *Authorizer { return &Authorizer{} }

// Run reads roles and bindings and follows their changes until ctx ends. Ready is closed
// when the first reading is done.
func (a *Authorizer) Run(ctx context.Context, s Store) error { return nil }

// Ready is closed once the index is complete.
func (a *Authorizer) Ready() <-chan struct{} { return nil }

// Authorize implements auth.Authorizer.
func (a *Authorizer) Authorize(ctx context.Context, at auth.Attributes) (bool, string, error) {
	return false, "", nil
}

// Rules returns what a user may do in a namespace ("" for cluster-wide only).
func (a *Authorizer) Rules(user resource.User, namespace string) []rbacv1.PolicyRule { return nil }

// Guard wraps a bundle so that writes of roles and bindings are refused (403) where the
// user would grant permissions that they lack.
func Guard(b resource.Bundle, a *Authorizer) resource.Bundle { return b }

// Ensure creates the bootstrap roles, bindings and their namespaces where they are missing
// and completes those that lack a permission.
func Ensure(ctx context.Context, client dynamic.Interface) error { return nil }
