package cel

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	upstream "k8s.io/apiserver/pkg/admission"
	admissionauthorizer "k8s.io/apiserver/pkg/admission/plugin/authorizer"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// Input is what expressions are evaluated on: a request in the version that a rule has
// matched.
type Input struct {
	// Attributes of the request. Whoever changes the object sets VersionedObject to
	// the changed copy.
	Attributes *upstream.VersionedAttributes
	// Resource that the rule matched, which need not be the one requested.
	Resource schema.GroupVersionResource
	// Namespace of the request; nil for cluster-wide objects and for namespaces.
	Namespace *corev1.Namespace
	// Params is the parameter object, or nil.
	Params map[string]any
	// Authorizer for the variable authorizer. It remembers decisions: use one for all
	// inputs of a request.
	Authorizer authorizer.Authorizer
}

// NewInput returns the input of a request as an object of another kind of the same type,
// or of its own.
func NewInput(r *admission.Request, resource schema.GroupVersionResource, kind schema.GroupVersionKind, authz authorizer.Authorizer) (*Input, error) {
	attributes := &upstream.VersionedAttributes{VersionedKind: kind}
	object, err := versioned(r, r.Object, kind)
	if err != nil {
		return nil, err
	}
	old, err := versioned(r, r.Old, kind)
	if err != nil {
		return nil, err
	}
	// A typed nil would not be nil in upstream's interface.
	if object != nil {
		attributes.VersionedObject = &unstructured.Unstructured{Object: object}
	}
	if old != nil {
		attributes.VersionedOldObject = &unstructured.Unstructured{Object: old}
	}
	attributes.Attributes = Attributes(r)
	return &Input{Attributes: attributes, Resource: resource, Authorizer: authz}, nil
}

// Attributes are the attributes of a request in upstream's form.
func Attributes(r *admission.Request) upstream.Attributes {
	var object, old, options runtime.Object
	if r.Object != nil {
		object = &unstructured.Unstructured{Object: r.Object}
	}
	if r.Old != nil {
		old = &unstructured.Unstructured{Object: r.Old}
	}
	if len(r.Options) > 0 {
		options = &unstructured.Unstructured{Object: r.Options}
	}
	namespace := r.Namespace
	if r.Resource == namespaces {
		namespace = r.Name // upstream takes a namespace to be in itself
	}
	return upstream.NewAttributesRecord(object, old, r.Kind, namespace, r.Name, r.Resource,
		r.Subresource, upstream.Operation(r.Operation), options, r.DryRun, userOf(r))
}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

func versioned(r *admission.Request, object map[string]any, kind schema.GroupVersionKind) (map[string]any, error) {
	if object == nil || kind == r.Kind {
		return object, nil
	}
	out, err := r.Convert(object, kind)
	if err != nil {
		return nil, fmt.Errorf("convert %s %q: %w", r.Kind.Kind, r.Name, err)
	}
	return out, nil
}

// Bindings are the optional variables of the input.
func (in *Input) Bindings() plugincel.OptionalVariableBindings {
	b := plugincel.OptionalVariableBindings{Authorizer: in.Authorizer}
	if in.Params != nil {
		b.VersionedParams = &unstructured.Unstructured{Object: in.Params}
	}
	return b
}

// Evaluate evaluates expressions within a budget. Errors of single expressions are in their
// results; an error means that the budget is spent.
func (in *Input) Evaluate(ctx context.Context, expressions plugincel.ConditionEvaluator, budget int64) ([]plugincel.EvaluationResult, int64, error) {
	return in.evaluate(ctx, expressions, in.Resource, in.Namespace, budget)
}

func (in *Input) evaluate(ctx context.Context, expressions plugincel.ConditionEvaluator, resource schema.GroupVersionResource, namespace *corev1.Namespace, budget int64) ([]plugincel.EvaluationResult, int64, error) {
	request := plugincel.CreateAdmissionRequest(in.Attributes.Attributes,
		metav1.GroupVersionResource(resource), metav1.GroupVersionKind(in.Attributes.VersionedKind))
	return expressions.ForInput(ctx, in.Attributes, request, in.Bindings(), namespace, budget)
}

func userOf(r *admission.Request) user.Info {
	return &user.DefaultInfo{Name: r.User.Name, UID: r.User.UID, Groups: r.User.Groups, Extra: r.User.Extra}
}

// NamespaceOf returns the namespace that expressions see as namespaceObject, from its tree.
func NamespaceOf(tree map[string]any) (*corev1.Namespace, error) {
	ns := &corev1.Namespace{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(tree, ns); err != nil {
		return nil, fmt.Errorf("read namespace: %w", err)
	}
	return plugincel.CreateNamespaceObject(ns), nil
}

// Authorizer lets expressions ask an authorizer. Decisions are remembered: make one for each
// request.
func Authorizer(a auth.Authorizer) authorizer.Authorizer {
	return admissionauthorizer.NewCachingAuthorizer(authorizer.AuthorizerFunc(
		func(ctx context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
			asked := auth.Attributes{Verb: at.GetVerb(), Path: at.GetPath()}
			if at.IsResourceRequest() {
				asked.Group, asked.Version, asked.Resource = at.GetAPIGroup(), at.GetAPIVersion(), at.GetResource()
				asked.Subresource, asked.Namespace, asked.Name = at.GetSubresource(), at.GetNamespace(), at.GetName()
			}
			if u := at.GetUser(); u != nil {
				asked.User.Name, asked.User.UID, asked.User.Groups, asked.User.Extra = u.GetName(), u.GetUID(), u.GetGroups(), u.GetExtra()
			}
			allowed, reason, err := a.Authorize(ctx, asked)
			if allowed {
				return authorizer.DecisionAllow, reason, err
			}
			return authorizer.DecisionNoOpinion, reason, err
		}))
}
