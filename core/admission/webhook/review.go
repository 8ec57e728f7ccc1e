package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// question is a request in the version that a webhook has asked for, as JSON.
type question struct {
	target      match.Target
	object, old []byte
	options     []byte
	objectTree  map[string]any
}

// ask puts a request into the version of a target.
func ask(r *admission.Request, target match.Target) (*question, error) {
	q := &question{target: target}
	var err error
	if q.objectTree, err = as(r, r.Object, target); err != nil {
		return nil, err
	}
	old, err := as(r, r.Old, target)
	if err != nil {
		return nil, err
	}
	for _, one := range [...]struct {
		tree map[string]any
		to   *[]byte
	}{{withManaged(q.objectTree, r.Managed), &q.object}, {withManaged(old, r.OldManaged), &q.old}, {r.Options, &q.options}} {
		if len(one.tree) == 0 {
			continue
		}
		if *one.to, err = json.Marshal(one.tree); err != nil {
			return nil, fmt.Errorf("encode a %s for webhooks: %w", r.Kind.Kind, err)
		}
	}
	return q, nil
}

// withManaged returns a tree with its managedFields, which are kept apart.
func withManaged(tree map[string]any, managed []byte) map[string]any {
	meta, ok := tree["metadata"].(map[string]any)
	if len(managed) == 0 || !ok {
		return tree
	}
	out, all := maps.Clone(tree), maps.Clone(meta)
	all["managedFields"] = json.RawMessage(managed)
	out["metadata"] = all
	return out
}

// as returns a tree in the version of a target; the same tree where it is in it.
func as(r *admission.Request, tree map[string]any, target match.Target) (map[string]any, error) {
	if tree == nil || target.Kind == r.Kind {
		return tree, nil
	}
	out, err := r.Convert(tree, target.Kind)
	if err != nil {
		return nil, fmt.Errorf("convert for webhooks: %w", err)
	}
	return out, nil
}

// review makes the AdmissionReview of a question in the first version that the webhook and
// we know, and an empty one for the answer.
func (q *question) review(h *hook, r *admission.Request) (uid types.UID, ask, answer runtime.Object, err error) {
	uid = uuid.NewUUID()
	for _, version := range h.AdmissionReviewVersions {
		switch version {
		case admissionv1.SchemeGroupVersion.Version:
			return uid, &admissionv1.AdmissionReview{Request: q.request(uid, r)}, &admissionv1.AdmissionReview{}, nil
		case admissionv1beta1.SchemeGroupVersion.Version:
			v1 := q.request(uid, r)
			return uid, &admissionv1beta1.AdmissionReview{Request: &admissionv1beta1.AdmissionRequest{
				UID: v1.UID, Kind: v1.Kind, Resource: v1.Resource, SubResource: v1.SubResource,
				RequestKind: v1.RequestKind, RequestResource: v1.RequestResource, RequestSubResource: v1.RequestSubResource,
				Name: v1.Name, Namespace: v1.Namespace, Operation: admissionv1beta1.Operation(v1.Operation), UserInfo: v1.UserInfo,
				Object: v1.Object, OldObject: v1.OldObject, DryRun: v1.DryRun, Options: v1.Options,
			}}, &admissionv1beta1.AdmissionReview{}, nil
		}
	}
	return "", nil, nil, errors.New("webhook does not accept known AdmissionReview versions (v1, v1beta1)")
}

func (q *question) request(uid types.UID, r *admission.Request) *admissionv1.AdmissionRequest {
	kind, resource := metav1.GroupVersionKind(r.Kind), metav1.GroupVersionResource(r.Resource)
	dryRun := r.DryRun
	user := authenticationv1.UserInfo{Username: r.User.Name, UID: r.User.UID, Groups: r.User.Groups}
	if len(r.User.Extra) > 0 {
		user.Extra = make(map[string]authenticationv1.ExtraValue, len(r.User.Extra))
		for k, v := range r.User.Extra {
			user.Extra[k] = v
		}
	}
	return &admissionv1.AdmissionRequest{
		UID:  uid,
		Kind: metav1.GroupVersionKind(q.target.Kind), Resource: metav1.GroupVersionResource(q.target.Resource), SubResource: q.target.Subresource,
		RequestKind: &kind, RequestResource: &resource, RequestSubResource: r.Subresource,
		Name: r.Name, Namespace: match.Namespace(r), Operation: admissionv1.Operation(r.Operation), UserInfo: user,
		Object: runtime.RawExtension{Raw: q.object}, OldObject: runtime.RawExtension{Raw: q.old},
		DryRun: &dryRun, Options: runtime.RawExtension{Raw: q.options},
	}
}

// answer is what a webhook has said.
type answer struct {
	allowed     bool
	patch       []byte
	result      *metav1.Status
	warnings    []string
	annotations map[string]string
}

// verify takes an answer out of a review.
func verify(uid types.UID, mutating bool, review runtime.Object) (*answer, error) {
	switch r := review.(type) {
	case *admissionv1.AdmissionReview:
		return verifyV1(uid, mutating, r)
	case *admissionv1beta1.AdmissionReview:
		if r.Response == nil {
			return nil, errAbsent
		}
		// The first version of the protocol asked for less.
		a := &answer{allowed: r.Response.Allowed, result: r.Response.Result, warnings: r.Response.Warnings, annotations: r.Response.AuditAnnotations}
		if mutating {
			a.patch = r.Response.Patch
		}
		return a, nil
	}
	return nil, fmt.Errorf("unexpected response type %T", review)
}

var errAbsent = errors.New("webhook response was absent")

func verifyV1(uid types.UID, mutating bool, review *admissionv1.AdmissionReview) (*answer, error) {
	r := review.Response
	if r == nil {
		return nil, errAbsent
	}
	if r.UID != uid {
		return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, r.UID)
	}
	if want := admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"); review.GroupVersionKind() != want {
		return nil, fmt.Errorf("expected webhook response of %v, got %v", want.String(), review.GroupVersionKind().String())
	}
	switch {
	case !mutating && len(r.Patch) > 0:
		return nil, errors.New("validating webhook may not return response.patch")
	case !mutating && r.PatchType != nil:
		return nil, errors.New("validating webhook may not return response.patchType")
	case len(r.Patch) > 0 && r.PatchType == nil:
		return nil, errors.New("webhook returned response.patch but not response.patchType")
	case len(r.Patch) == 0 && r.PatchType != nil:
		return nil, errors.New("webhook returned response.patchType but not response.patch")
	case r.PatchType != nil && *r.PatchType == "":
		return nil, fmt.Errorf("webhook returned invalid response.patchType of %q", *r.PatchType)
	case r.PatchType != nil && *r.PatchType != admissionv1.PatchTypeJSONPatch && r.Allowed:
		return nil, fmt.Errorf("unsupported patch type %q", *r.PatchType)
	}
	return &answer{allowed: r.Allowed, patch: r.Patch, result: r.Result, warnings: r.Warnings, annotations: r.AuditAnnotations}, nil
}
