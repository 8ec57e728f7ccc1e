package plugins

import (
	"context"
	"errors"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/sdk/admission"
)

// The steps of admission, as metrics name them.
const (
	stepMutate   = "mutate"
	stepValidate = "validate"
)

type mutator struct{ *Plugins }

var (
	_ admission.Reinvoker = mutator{}
	_ admission.Idler     = mutator{}
)

// Idle implements admission.Idler.
func (m mutator) Idle() bool { return m.mutators.Load() == nil }

// Reinvokes implements admission.Reinvoker.
func (mutator) Reinvokes() bool { return true }

// memory is the object as each plugin that wants to be asked again has left it.
type memory map[*member]map[string]any

type memoryKey struct{}

// Mutate implements admission.Mutator. Plugins are asked one after the other, by name, each
// with what the ones before it have left.
func (m mutator) Mutate(ctx context.Context, r *admission.Request) (changed bool, err error) {
	questions, err := m.wanted(ctx, m.mutators.Load(), stepMutate, r)
	if err != nil || len(questions) == 0 {
		return false, err
	}
	left, _ := r.Memory[memoryKey{}].(memory)
	for i := range questions {
		q := &questions[i]
		if r.Round > 0 {
			// Nobody is asked for the first time in the second round.
			last, asked := left[q.member]
			if !asked || apiequality.Semantic.DeepEqual(last, r.Object) {
				continue
			}
		}
		did := false
		ignored, err := q.ask(ctx, r, func(ctx context.Context, l life) error {
			var err error
			did, err = q.mutate(ctx, l, r)
			return err
		})
		if err != nil {
			return changed, err
		}
		if ignored {
			r.Annotate(fmt.Sprintf("failed-open.mutation.%s/round_%d_index_%d", AuditDomain, r.Round, i), q.member.name)
		}
		if did {
			changed = true
			if i < len(questions)-1 { // after the last one the server does it
				if err := r.Decode(ctx, r.Object); err != nil {
					return changed, err //nolint:wrapcheck // it is a status
				}
			}
			r.Annotate(fmt.Sprintf("mutation.%s/round_%d_index_%d", AuditDomain, r.Round, i), q.member.name)
		}
		if q.terms.Declaration.Reinvoke && r.Memory != nil {
			if left == nil {
				left = memory{}
				r.Memory[memoryKey{}] = left
			}
			left[q.member] = runtime.DeepCopyJSON(r.Object)
		}
	}
	return changed, nil
}

// mutate lets a plugin change the object.
func (q *question) mutate(ctx context.Context, l life, r *admission.Request) (changed bool, err error) {
	if l.mutator == nil {
		return false, &callError{q.member.name, errors.New("it no longer mutates")}
	}
	asked, err := q.asked(r)
	if err != nil {
		return false, err
	}
	did, err := l.mutator.Mutate(ctx, asked)
	tell(r, asked)
	if err != nil || !did {
		return false, err
	}
	tree := asked.Object
	switch {
	case r.Object == nil:
		return false, apierrors.NewInternalError(fmt.Errorf("admission plugin %q attempted to modify the object, which is not supported for this operation", q.member.name))
	case tree["apiVersion"] != q.target.Kind.GroupVersion().String() || tree["kind"] != q.target.Kind.Kind:
		return false, apierrors.NewInternalError(fmt.Errorf("admission plugin %q attempted to change apiVersion or kind of the object", q.member.name))
	}
	if meta, ok := tree["metadata"].(map[string]any); ok {
		delete(meta, "managedFields") // they are the server's
	}
	if q.target.Kind != r.Kind {
		if tree, err = r.Convert(tree, r.Kind); err != nil {
			return false, apierrors.NewInternalError(fmt.Errorf("convert what admission plugin %q has made: %w", q.member.name, err))
		}
	}
	r.Object = tree
	return true, nil
}
