package node

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Restriction is the admission of node agents' writes (upstream's NodeRestriction): an agent
// changes its own Node, within limits, and what belongs to the pods that are bound to it.
type Restriction struct{ authorizer auth.Authorizer }

var _ admission.Validator = (*Restriction)(nil)

// NewRestriction returns a Restriction. authorizer is asked whether a node may request tokens
// for audiences that a pod does not name.
func NewRestriction(authorizer auth.Authorizer) *Restriction { return &Restriction{authorizer} }

// Validate implements admission.Validator. It has nothing to say of requests that are not a
// node agent's.
func (p *Restriction) Validate(ctx context.Context, r *admission.Request) error {
	// Most requests are not a node's, which costs them no more than this.
	if !slices.Contains(r.User.Groups, auth.NodesGroup) {
		return nil
	}
	node, ok := strings.CutPrefix(r.User.Name, auth.NodeUserPrefix)
	if !ok || r.Operation == resource.Connect {
		return nil
	}
	if node == "" {
		return refuse(r, "could not determine node from user %q", r.User.Name)
	}
	w := &write{Request: r, node: node, authorizer: p.authorizer}
	if check, ok := checks[r.Resource.GroupResource()]; ok {
		return check(ctx, w)
	}
	return nil
}

// write is a node agent's.
type write struct {
	*admission.Request
	node       string
	authorizer auth.Authorizer
}

var checks = map[schema.GroupResource]func(context.Context, *write) error{
	{Resource: "pods"}:                                                     pods,
	{Resource: "nodes"}:                                                    nodes,
	{Resource: "persistentvolumeclaims"}:                                   claims,
	{Resource: "serviceaccounts"}:                                          serviceAccounts,
	{Group: "coordination.k8s.io", Resource: "leases"}:                     leases,
	{Group: "storage.k8s.io", Resource: "csinodes"}:                        csiNodes,
	{Group: "resource.k8s.io", Resource: "resourceslices"}:                 resourceSlices,
	{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}: signingRequests,
	{Group: "certificates.k8s.io", Resource: "podcertificaterequests"}:     podCertificates,
}

func refuse(r *admission.Request, format string, args ...any) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, fmt.Errorf(format, args...))
}

func (w *write) refuse(format string, args ...any) error { return refuse(w.Request, format, args...) }

// get reads another object; nil means that there is none.
func (w *write) get(ctx context.Context, resourceName, namespace, name string) (map[string]any, error) {
	o, err := w.Reader.Get(ctx, schema.GroupResource{Resource: resourceName}, namespace, name)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("read %s %s/%s: %w", resourceName, namespace, name, err))
	}
	return o, nil
}

func text(tree map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(tree, path...)
	return s
}

func value(tree map[string]any, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(tree, path...)
	return v
}

// same treats what is absent and what is empty alike.
func same(a, b any) bool {
	empty := func(v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return false
	}
	return empty(a) && empty(b) || reflect.DeepEqual(a, b)
}

func nodes(_ context.Context, w *write) error {
	name := w.Name
	if w.Operation == resource.Create {
		name = text(w.Object, "metadata", "name")
	}
	if name != w.node {
		return w.refuse("node %q is not allowed to modify node %q", w.node, name)
	}
	switch w.Operation {
	case resource.Create:
		if value(w.Object, "spec", "configSource") != nil {
			return w.refuse("node %q is not allowed to create pods with a non-nil configSource", w.node)
		}
		if bad := forbiddenLabels(w.Object, nil); len(bad) > 0 {
			return w.refuse("node %q is not allowed to set the following labels: %s", w.node, strings.Join(bad, ", "))
		}
	case resource.Update:
		if source := value(w.Object, "spec", "configSource"); source != nil && !same(source, value(w.Old, "spec", "configSource")) {
			return w.refuse("node %q is not allowed to update configSource to a new non-nil configSource", w.node)
		}
		if !same(value(w.Object, "spec", "taints"), value(w.Old, "spec", "taints")) {
			return w.refuse("node %q is not allowed to modify taints", w.node)
		}
		if !same(value(w.Object, "metadata", "ownerReferences"), value(w.Old, "metadata", "ownerReferences")) {
			return w.refuse("node %q is not allowed to modify ownerReferences", w.node)
		}
		if bad := forbiddenLabels(w.Object, w.Old); len(bad) > 0 {
			return w.refuse("is not allowed to modify labels: %s", strings.Join(bad, ", "))
		}
	}
	return nil
}

// forbiddenLabels are those that differ between two objects and are not a node's to set: by
// them it could draw workloads to itself.
func forbiddenLabels(object, old map[string]any) []string {
	have, _ := value(object, "metadata", "labels").(map[string]any)
	had, _ := value(old, "metadata", "labels").(map[string]any)
	changed := map[string]bool{}
	for k, v := range have {
		if before, ok := had[k]; !ok || before != v {
			changed[k] = true
		}
	}
	for k := range had {
		if _, ok := have[k]; !ok {
			changed[k] = true
		}
	}
	within := func(namespace, domain string) bool {
		return namespace == domain || strings.HasSuffix(namespace, "."+domain)
	}
	var bad []string
	for _, k := range slices.Sorted(maps.Keys(changed)) {
		namespace, _, qualified := strings.Cut(k, "/")
		if !qualified {
			continue
		}
		kubernetes := within(namespace, "kubernetes.io") || within(namespace, "k8s.io")
		if within(namespace, corev1.LabelNamespaceNodeRestriction) || kubernetes && !kubeletapis.IsKubeletLabel(k) {
			bad = append(bad, k)
		}
	}
	return bad
}

func claims(_ context.Context, w *write) error {
	if w.Subresource != "status" {
		return w.refuse("may only update PVC status")
	}
	if w.Operation != resource.Update {
		return w.refuse("unexpected operation %q", w.Operation)
	}
	rest := func(tree map[string]any) map[string]any {
		tree = (&unstructured.Unstructured{Object: tree}).DeepCopy().Object
		for _, f := range []string{"capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"} {
			unstructured.RemoveNestedField(tree, "status", f)
		}
		if status, ok := tree["status"].(map[string]any); ok && len(status) == 0 {
			delete(tree, "status")
		}
		for _, f := range []string{"resourceVersion", "managedFields"} {
			unstructured.RemoveNestedField(tree, "metadata", f)
		}
		return tree
	}
	if !reflect.DeepEqual(rest(w.Object), rest(w.Old)) {
		return w.refuse("node %q is not allowed to update fields other than status.quantity and status.conditions", w.node)
	}
	return nil
}

func leases(_ context.Context, w *write) error {
	if w.Namespace != leaseNS {
		return w.refuse("can only access leases in the %q system namespace", leaseNS)
	}
	if w.objectName() != w.node {
		return w.refuse("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func csiNodes(_ context.Context, w *write) error {
	if w.objectName() != w.node {
		return w.refuse("can only access CSINode with the same name as the requesting node")
	}
	return nil
}

// objectName is the name of what is written; on create it is in the object alone.
func (w *write) objectName() string {
	if w.Operation == resource.Create {
		return text(w.Object, "metadata", "name")
	}
	return w.Name
}

func resourceSlices(_ context.Context, w *write) error {
	switch {
	case w.Operation == resource.Create && text(w.Object, "spec", "nodeName") != w.node:
		return w.refuse("can only create ResourceSlice with the same NodeName as the requesting node")
	case w.Operation == resource.Delete && text(w.Old, "spec", "nodeName") != w.node:
		return w.refuse("can only delete ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}

func signingRequests(_ context.Context, w *write) error {
	signer := text(w.Object, "spec", "signerName")
	if w.Operation != resource.Create || signer != "kubernetes.io/kubelet-serving" && signer != "kubernetes.io/kube-apiserver-client-kubelet" {
		return nil
	}
	csr, err := parseCSR(text(w.Object, "spec", "request"))
	if err != nil {
		return w.refuse("unable to parse csr: %w", err)
	}
	if csr.Subject.CommonName != auth.NodeUserPrefix+w.node {
		return w.refuse("can only create a node CSR with CN=%s%s", auth.NodeUserPrefix, w.node)
	}
	return nil
}

func parseCSR(request string) (*x509.CertificateRequest, error) {
	data, err := base64.StdEncoding.DecodeString(request)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

func podCertificates(_ context.Context, w *write) error {
	// Upstream's feature PodCertificateRequest is off unless it is asked for.
	return w.refuse("PodCertificateRequest feature gate is disabled")
}
