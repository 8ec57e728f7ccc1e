package policy

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// inputs makes the inputs of the expressions that are evaluated about one request, and keeps
// what they share.
type inputs struct {
	authorizer authorizer.Authorizer
	namespace  *corev1.Namespace
	read       bool
}

var namespaceKind = schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}

// input returns a new input. An error with a status is about the request's namespace and
// ends the request; another says that the object can't be had in the version asked for.
func (s *inputs) input(ctx context.Context, p *Policies, r *admission.Request, target match.Target, param map[string]any) (*cel.Input, error) {
	if !s.read {
		if r.Kind != namespaceKind {
			tree, err := match.NamespaceObject(ctx, r)
			if err != nil {
				return nil, err
			}
			if tree != nil {
				if s.namespace, err = cel.NamespaceOf(tree); err != nil {
					return nil, apierrors.NewInternalError(err)
				}
			}
		}
		s.authorizer = cel.Authorizer(p.authorizer)
		s.read = true
	}
	in, err := cel.NewInput(r, target.Resource, target.Kind, s.authorizer)
	if err != nil {
		return nil, err
	}
	in.Namespace, in.Params = s.namespace, param
	return in, nil
}

func isStatus(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}
