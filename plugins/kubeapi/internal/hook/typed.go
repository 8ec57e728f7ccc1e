package hook

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Typed is an OnValidate for kinds that are written so rarely that their checks may cost a
// conversion to their Go type. old is nil on create.
func Typed[T any](validate func(r *resource.Request, object, old *T) field.ErrorList) func(context.Context, *resource.Request) field.ErrorList {
	return func(_ context.Context, r *resource.Request) field.ErrorList {
		object, err := tree.Typed[T](r.Object)
		if err != nil {
			return field.ErrorList{field.InternalError(nil, err)}
		}
		var old *T
		if r.Old != nil {
			if old, err = tree.Typed[T](r.Old); err != nil {
				return field.ErrorList{field.InternalError(nil, err)}
			}
		}
		return validate(r, object, old)
	}
}
