// Package hook makes the hooks of a kind from functions.
//
// It must know nothing of kinds.
package hook

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Kind is the hooks of a kind. Functions may be nil, but for OnPrint, which every kind has.
type Kind struct {
	OnDefault  func(r *resource.Request)
	OnAdmit    func(ctx context.Context, r *resource.Request) error
	OnPrepare  func(ctx context.Context, r *resource.Request) error
	OnValidate func(ctx context.Context, r *resource.Request) field.ErrorList
	OnPrint    show.Func
}

var (
	_ resource.Defaulter = Kind{}
	_ resource.Admitter  = Kind{}
	_ resource.Preparer  = Kind{}
	_ resource.Validator = Kind{}
	_ resource.Printer   = Kind{}
)

// Default implements resource.Defaulter.
func (k Kind) Default(_ context.Context, r *resource.Request) error {
	if k.OnDefault != nil && r.Object != nil {
		k.OnDefault(r)
	}
	return nil
}

// Admit implements resource.Admitter.
func (k Kind) Admit(ctx context.Context, r *resource.Request) error {
	if k.OnAdmit != nil && r.Object != nil {
		return k.OnAdmit(ctx, r)
	}
	return nil
}

// Prepare implements resource.Preparer.
func (k Kind) Prepare(ctx context.Context, r *resource.Request) error {
	if k.OnPrepare != nil && r.Object != nil {
		return k.OnPrepare(ctx, r)
	}
	return nil
}

// Validate implements resource.Validator.
func (k Kind) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	if k.OnValidate != nil && r.Object != nil {
		return k.OnValidate(ctx, r)
	}
	return nil
}

// Cells implements resource.Printer.
func (k Kind) Cells(object map[string]any) []any { return k.OnPrint(object) }

// DropStatus is an OnPrepare for kinds whose status only controllers write: what a create
// says of it is dropped.
func DropStatus(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create && r.Subresource == "" {
		r.Object["status"] = map[string]any{}
	}
	return nil
}

// ZeroReplicas is DropStatus for kinds whose status always has replicas.
func ZeroReplicas(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create && r.Subresource == "" {
		r.Object["status"] = map[string]any{"replicas": int64(0)}
	}
	return nil
}

// Warn is an OnPrepare that tells who writes the object something, and then calls next,
// which may be nil. It is for kinds that are kept but have no effect.
func Warn(text string, next func(context.Context, *resource.Request) error) func(context.Context, *resource.Request) error {
	return func(ctx context.Context, r *resource.Request) error {
		if r.Subresource == "" {
			r.Warnings = append(r.Warnings, text)
		}
		if next == nil {
			return nil
		}
		return next(ctx, r)
	}
}
