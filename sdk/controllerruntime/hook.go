package controllerruntime

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// hook is a webhook and what it is about.
type hook struct {
	configured
	webhook *admission.Webhook
}

// call asks the webhook. It returns the object with what it has changed, nil where that is
// nothing.
func (h *hook) call(ctx context.Context, r *resource.Request, options map[string]any) (changed map[string]any, err error) {
	req, err := reviewOf(r, options)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", h.name, err)
	}
	resp := h.webhook.Handle(ctx, req)
	r.Warnings = append(r.Warnings, resp.Warnings...)
	if !resp.Allowed {
		return nil, h.denied(resp.Result)
	}
	if len(resp.Patches) == 0 && len(resp.Patch) == 0 {
		return nil, nil
	}
	object, err := patched(req.Object.Raw, &resp)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", h.name, err)
	}
	return object, nil
}

// reviewOf is a request as the API server would send it to a webhook.
func reviewOf(r *resource.Request, options map[string]any) (admission.Request, error) {
	kind, gvr := metav1.GroupVersionKind(r.Kind), metav1.GroupVersionResource(r.Resource)
	dry := r.DryRun
	out := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Kind: kind, Resource: gvr, SubResource: r.Subresource,
		RequestKind: &kind, RequestResource: &gvr, RequestSubResource: r.Subresource,
		Name: r.Name, Namespace: r.Namespace, Operation: admissionv1.Operation(r.Operation),
		UserInfo: userOf(r.User), DryRun: &dry,
	}}
	for _, part := range []struct {
		tree map[string]any
		into *runtime.RawExtension
	}{{r.Object, &out.Object}, {r.Old, &out.OldObject}, {options, &out.Options}} {
		if part.tree == nil {
			continue
		}
		raw, err := json.Marshal(part.tree)
		if err != nil {
			return out, fmt.Errorf("encoding the request: %w", err)
		}
		part.into.Raw = raw
	}
	return out, nil
}

func userOf(u resource.User) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if out.Extra == nil {
			out.Extra = map[string]authenticationv1.ExtraValue{}
		}
		out.Extra[k] = v
	}
	return out
}

// denied is what the client is told, as by an API server that has asked a webhook.
func (h *hook) denied(result *metav1.Status) error {
	status := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden}
	if result != nil {
		result.DeepCopyInto(&status)
		status.Status = metav1.StatusFailure
	}
	if status.Code < http.StatusBadRequest {
		status.Code = http.StatusForbidden
	}
	says := fmt.Sprintf("admission webhook %q denied the request", h.name)
	switch {
	case status.Message != "":
		status.Message = says + ": " + status.Message
	case status.Reason != "":
		status.Message = says + ": " + string(status.Reason)
	default:
		status.Message = says + " without explanation"
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// patched applies a webhook's patch to the object that it was sent.
func patched(object []byte, resp *admission.Response) (map[string]any, error) {
	patch := resp.Patch
	if len(patch) == 0 {
		var err error
		if patch, err = json.Marshal(resp.Patches); err != nil {
			return nil, fmt.Errorf("its patch: %w", err)
		}
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("its patch: %w", err)
	}
	applied, err := operations.Apply(object)
	if err != nil {
		return nil, fmt.Errorf("its patch: %w", err)
	}
	out, err := protocol.DecodeTree(applied)
	if err != nil {
		return nil, fmt.Errorf("what its patch makes of the object: %w", err)
	}
	return out, nil
}
