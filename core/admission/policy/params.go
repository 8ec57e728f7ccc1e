package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// paramType finds the type of a policy's parameters; nil where it has none.
func (p *Policies) paramType(kind *admissionregistrationv1.ParamKind) (*registry.Type, error) {
	if kind == nil {
		return nil, nil
	}
	gv, err := schema.ParseGroupVersion(kind.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("failed to parse paramKind APIVersion: %w", err)
	}
	t, ok := p.registry.LookupKind(gv.WithKind(kind.Kind))
	if !ok || t.Definition.Virtual {
		return nil, fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gv.WithKind(kind.Kind))
	}
	return t, nil
}

// params are the parameters that a binding means for a request. A nil tree among them means
// an evaluation without parameters; none at all means that there is nothing to evaluate.
func params(ctx context.Context, r *admission.Request, t *registry.Type, b *binding) ([]map[string]any, error) {
	ref := b.params
	if t == nil || ref == nil {
		return []map[string]any{nil}, nil
	}
	namespace := ref.Namespace
	if t.Definition.Scope == crd.ClusterScoped {
		if namespace != "" {
			return nil, errors.New("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
		}
	} else if namespace == "" {
		if namespace = match.Namespace(r); namespace == "" {
			return nil, errors.New("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
		}
	}
	list, err := findParams(ctx, r, t, namespace, b)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i], err = served(list[i], t); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 && ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionregistrationv1.DenyAction {
		return nil, errors.New("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	return list, nil
}

func findParams(ctx context.Context, r *admission.Request, t *registry.Type, namespace string, b *binding) ([]map[string]any, error) {
	gr := t.GVR.GroupResource()
	switch {
	case b.params.Name != "" && b.selector != nil:
		return nil, errors.New("paramRef.name and paramRef.selector are mutually exclusive")
	case b.params.Name != "":
		object, err := r.Reader.Get(ctx, gr, namespace, b.params.Name)
		if err != nil || object == nil {
			return nil, err //nolint:wrapcheck // it names the object
		}
		return []map[string]any{object}, nil
	case b.selector != nil:
		all, err := r.Reader.List(ctx, gr, namespace)
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the resource
		}
		var selected []map[string]any
		for _, object := range all {
			if b.selector.Matches(labelsOf(object)) {
				selected = append(selected, object)
			}
		}
		return selected, nil
	}
	return nil, errors.New("one of name or selector must be provided")
}

// served returns a parameter in the version that the policy asks for. The object is shared
// and stays as it is.
func served(object map[string]any, t *registry.Type) (map[string]any, error) {
	want := t.GVK.GroupVersion().String()
	have, _ := object["apiVersion"].(string)
	if have == want {
		return object, nil
	}
	if t.Definition.Conversion != nil {
		return nil, fmt.Errorf("parameters of %s are stored as %s, which can't be converted here: name that version in paramKind", t.GVK.Kind, have)
	}
	out := maps.Clone(object)
	out["apiVersion"] = want
	return out, nil
}

func labelsOf(object map[string]any) labels.Set {
	meta, _ := object["metadata"].(map[string]any)
	tree, _ := meta["labels"].(map[string]any)
	set := make(labels.Set, len(tree))
	for k, v := range tree {
		set[k], _ = v.(string)
	}
	return set
}
