package review

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// TokenRequest returns the hook of serviceaccounts/token. It leaves the service account as
// it is.
func TokenRequest(s *tokens.Service) resource.Subresourcer { return tokenRequest{s} }

type tokenRequest struct{ tokens *tokens.Service }

// Lifetimes in seconds; upstream's.
const (
	defaultLifetime = 3600
	minLifetime     = 600
	maxLifetime     = 1 << 32
	// A pod's token asked for exactly this long works for a year, with a warning after
	// what was asked: programs that read it once and never again keep going.
	extensible = 3607
	extended   = 365 * 24 * 3600
)

var tokenKind = runtimeschema.GroupVersionKind{Group: authenticationv1.GroupName, Version: "v1", Kind: "TokenRequest"}

// CreateSubresource implements resource.Subresourcer.
func (h tokenRequest) CreateSubresource(ctx context.Context, r *resource.Request, parent map[string]any) (resource.SubresourceResult, error) {
	var none resource.SubresourceResult
	if r.Subresource != "token" {
		return none, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), "create")
	}
	var req authenticationv1.TokenRequest
	if err := decode(r, &req); err != nil {
		return none, err
	}
	account := &unstructured.Unstructured{Object: parent}
	if err := complete(&req, r, account); err != nil {
		return none, err
	}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = h.tokens.Audiences()
	}
	seconds := int64(defaultLifetime)
	if req.Spec.ExpirationSeconds != nil {
		seconds = *req.Spec.ExpirationSeconds
	}
	req.Spec.ExpirationSeconds = &seconds
	path := field.NewPath("spec", "expirationSeconds")
	switch {
	case seconds < minLifetime:
		return none, apierrors.NewInvalid(tokenKind.GroupKind(), "", field.ErrorList{field.Invalid(path, seconds, "may not specify a duration less than 10 minutes")})
	case seconds > maxLifetime:
		return none, apierrors.NewInvalid(tokenKind.GroupKind(), "", field.ErrorList{field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")})
	}

	issue := tokens.Request{
		Namespace: req.Namespace, Name: req.Name, UID: string(req.UID),
		Audiences: req.Spec.Audiences, Lifetime: time.Duration(seconds) * time.Second,
	}
	if err := h.bind(ctx, r, &req, &issue); err != nil {
		return none, err
	}
	own := h.tokens.Audiences()
	if issue.Pod != nil && seconds == extensible && !slices.ContainsFunc(issue.Audiences, func(a string) bool { return !slices.Contains(own, a) }) {
		issue.Lifetime, issue.WarnAfter = extended*time.Second, extensible*time.Second
	}
	token, err := h.tokens.Issue(ctx, issue)
	if err != nil {
		return none, apierrors.NewInternalError(err)
	}
	audit.AddAnnotation(ctx, "authentication.kubernetes.io/issued-credential-id", "JTI="+token.ID)
	made := token.Expires.Add(-issue.Lifetime)
	req.APIVersion, req.Kind = tokenKind.GroupVersion().String(), tokenKind.Kind
	req.CreationTimestamp = metav1.NewTime(made)
	req.Status = authenticationv1.TokenRequestStatus{
		Token: token.Token, ExpirationTimestamp: metav1.NewTime(made.Add(time.Duration(seconds) * time.Second)),
	}
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&req)
	if err != nil {
		return none, apierrors.NewInternalError(err)
	}
	return resource.SubresourceResult{Response: tree}, nil
}

// complete checks the request's metadata against the service account and fills it in.
func complete(req *authenticationv1.TokenRequest, r *resource.Request, account *unstructured.Unstructured) error {
	meta := field.NewPath("metadata")
	if req.Name != "" && req.Name != r.Name {
		return apierrors.NewInvalid(tokenKind.GroupKind(), r.Name, field.ErrorList{field.Invalid(meta.Child("name"), req.Name, "must match the service account name if specified")})
	}
	if req.Namespace != "" && req.Namespace != r.Namespace {
		return apierrors.NewInvalid(tokenKind.GroupKind(), r.Name, field.ErrorList{field.Invalid(meta.Child("namespace"), req.Namespace, "must match the service account namespace if specified")})
	}
	if req.UID != "" && req.UID != account.GetUID() {
		return conflict(tokenKind.Kind, tokenKind.Group, r.Name, fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", req.UID, account.GetUID()))
	}
	req.Name, req.Namespace, req.UID = account.GetName(), account.GetNamespace(), account.GetUID()
	return nil
}

// bind looks up what the token is to be bound to. Node agents get tokens only for the
// pods that are bound to their node.
func (h tokenRequest) bind(ctx context.Context, r *resource.Request, req *authenticationv1.TokenRequest, issue *tokens.Request) error {
	nodeName, isNode := node.Name(r.User.Name, r.User.Groups)
	ref := req.Spec.BoundObjectRef
	if ref == nil {
		if isNode {
			return forbidden(r, "node requested token not bound to a pod")
		}
		return nil
	}
	gvk := runtimeschema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	if isNode && (gvk.Group != "" || gvk.Kind != "Pod") {
		return forbidden(r, "node requested token not bound to a pod")
	}
	find := func(resourceName, namespace string) (*unstructured.Unstructured, error) {
		gr := runtimeschema.GroupResource{Resource: resourceName}
		tree, err := r.Reader.Get(ctx, gr, namespace, ref.Name)
		if err != nil {
			return nil, apierrors.NewInternalError(fmt.Errorf("read %s %s/%s: %w", resourceName, namespace, ref.Name, err))
		}
		if tree == nil {
			return nil, apierrors.NewNotFound(gr, ref.Name)
		}
		o := &unstructured.Unstructured{Object: tree}
		if ref.UID != "" && ref.UID != o.GetUID() {
			return nil, conflict(gvk.Kind, gvk.Group, ref.Name, fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
		}
		return o, nil
	}
	bound := func(o *unstructured.Unstructured) *tokens.Bound {
		return &tokens.Bound{Name: o.GetName(), UID: string(o.GetUID())}
	}
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		pod, err := find("pods", r.Namespace)
		if err != nil {
			return err
		}
		if account, _, _ := unstructured.NestedString(pod.Object, "spec", "serviceAccountName"); account != r.Name {
			return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", r.Name))
		}
		on, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
		if isNode {
			if ref.UID == "" {
				return forbidden(r, "node requested token with a pod binding without a uid")
			}
			if on != nodeName {
				return forbidden(r, "node requested token bound to a pod scheduled on a different node")
			}
		}
		issue.Pod = bound(pod)
		if on != "" {
			issue.Node = &tokens.Bound{Name: on}
			if n, err := r.Reader.Get(ctx, runtimeschema.GroupResource{Resource: "nodes"}, "", on); err == nil && n != nil {
				issue.Node = bound(&unstructured.Unstructured{Object: n})
			}
		}
	case gvk.Group == "" && gvk.Kind == "Secret":
		o, err := find("secrets", r.Namespace)
		if err != nil {
			return err
		}
		issue.Secret = bound(o)
	case gvk.Group == "" && gvk.Kind == "Node":
		o, err := find("nodes", "")
		if err != nil {
			return err
		}
		issue.Node = bound(o)
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
	return nil
}

func conflict(kind, group, name string, err error) error {
	return apierrors.NewConflict(runtimeschema.GroupResource{Group: group, Resource: kind}, name, err)
}

func forbidden(r *resource.Request, why string) error {
	return apierrors.NewForbidden(runtimeschema.GroupResource{Resource: "serviceaccounts"}, r.Name, errors.New(why))
}
