package bootstrap

import (
	"context"
	"fmt"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// inFlight bounds the writes that Ensure has under way, so that the store groups them.
const inFlight = 16

// systemNamespaces exist in every cluster.
var systemNamespaces = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// Ensure creates the system namespaces and the bootstrap policy's objects where they are
// missing. An object that is there and has the annotation
// rbac.authorization.kubernetes.io/autoupdate: "true" gets the permissions, labels and
// subjects that it lacks; what an administrator has added is left alone. client must be
// of system:masters.
func Ensure(ctx context.Context, client dynamic.Interface) error {
	policy, err := Policy()
	if err != nil {
		return err
	}
	if err := ensureNamespaces(ctx, client); err != nil {
		return err
	}
	var objects []object
	add := func(resource string, o runtime.Object) error {
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("bootstrap policy: %w", err)
		}
		unstructured.RemoveNestedField(tree, "metadata", "creationTimestamp")
		objects = append(objects, object{resource, &unstructured.Unstructured{Object: tree}})
		return nil
	}
	for _, o := range policy.ClusterRoles {
		err = firstOf(err, add("clusterroles", o))
	}
	for _, o := range policy.ClusterRoleBindings {
		err = firstOf(err, add("clusterrolebindings", o))
	}
	for _, o := range policy.Roles {
		err = firstOf(err, add("roles", o))
	}
	for _, o := range policy.RoleBindings {
		err = firstOf(err, add("rolebindings", o))
	}
	if err != nil {
		return err
	}
	return apply(ctx, client, objects)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func ensureNamespaces(ctx context.Context, client dynamic.Interface) error {
	for _, name := range systemNamespaces {
		if _, err := client.Resource(namespaces).Get(ctx, name, metav1.GetOptions{}); err == nil {
			continue
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("system namespace %s: %w", name, err)
		}
		ns := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
		}}
		if _, err := client.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("system namespace %s: %w", name, err)
		}
	}
	return nil
}

// object is one of the policy's.
type object struct {
	resource string
	want     *unstructured.Unstructured
}

func (o object) String() string {
	return o.want.GetKind() + " " + o.want.GetNamespace() + "/" + o.want.GetName()
}

func (o object) client(c dynamic.Interface) dynamic.ResourceInterface {
	r := c.Resource(rbacv1.SchemeGroupVersion.WithResource(o.resource))
	if ns := o.want.GetNamespace(); ns != "" {
		return r.Namespace(ns)
	}
	return r
}

// apply reads what is there with one list for each kind and writes what differs.
func apply(ctx context.Context, client dynamic.Interface, objects []object) error {
	have := map[string]*unstructured.Unstructured{}
	listed := map[string]bool{}
	for _, o := range objects {
		if listed[o.resource] {
			continue
		}
		listed[o.resource] = true
		list, err := client.Resource(rbacv1.SchemeGroupVersion.WithResource(o.resource)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("bootstrap policy: list %s: %w", o.resource, err)
		}
		for i := range list.Items {
			item := &list.Items[i]
			have[o.resource+"/"+item.GetNamespace()+"/"+item.GetName()] = item
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, inFlight)
	var running sync.WaitGroup
	for _, o := range objects {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := o.ensure(ctx, client, have[o.resource+"/"+o.want.GetNamespace()+"/"+o.want.GetName()]); err != nil {
				cancel(fmt.Errorf("bootstrap policy: %s: %w", o, err))
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// retries of an update that somebody else's write came before.
const retries = 5

func (o object) ensure(ctx context.Context, client dynamic.Interface, have *unstructured.Unstructured) error {
	c := o.client(client)
	if have == nil {
		_, err := c.Create(ctx, o.want, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		if have, err = c.Get(ctx, o.want.GetName(), metav1.GetOptions{}); err != nil {
			return err
		}
	}
	for try := 0; ; try++ {
		next, replace, err := reconcile(have, o.want)
		if err != nil || next == nil {
			return err
		}
		if replace {
			// A binding's role can't be changed: it is made anew.
			uid := have.GetUID()
			if err := c.Delete(ctx, o.want.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			_, err = c.Create(ctx, next, metav1.CreateOptions{})
			return err
		}
		_, err = c.Update(ctx, next, metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) || try == retries {
			return err
		}
		if have, err = c.Get(ctx, o.want.GetName(), metav1.GetOptions{}); err != nil {
			return err
		}
	}
}

// reconcile returns what have must become, or nil where it is good as it is. replace says
// that it must be deleted first.
func reconcile(have, want *unstructured.Unstructured) (next *unstructured.Unstructured, replace bool, err error) {
	if have.GetAnnotations()[autoUpdate] != "true" {
		return nil, false, nil
	}
	// Roles and bindings of either scope have the same fields but for these.
	type content struct {
		Rules           []rbacv1.PolicyRule     `json:"rules,omitempty"`
		AggregationRule *rbacv1.AggregationRule `json:"aggregationRule,omitempty"`
		Subjects        []rbacv1.Subject        `json:"subjects,omitempty"`
		RoleRef         *rbacv1.RoleRef         `json:"roleRef,omitempty"`
	}
	var h, w content
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(have.Object, &h); err != nil {
		return nil, false, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(want.Object, &w); err != nil {
		return nil, false, err
	}
	if w.RoleRef != nil && (h.RoleRef == nil || *h.RoleRef != *w.RoleRef) {
		return want, true, nil
	}
	next = have.DeepCopy()
	changed := false
	labels := next.GetLabels()
	for k, v := range want.GetLabels() {
		if _, ok := labels[k]; !ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[k] = v
			changed = true
		}
	}
	next.SetLabels(labels)
	add := func(name string, more any) error {
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(more)
		if err != nil {
			return err
		}
		have, _, _ := unstructured.NestedSlice(next.Object, name)
		changed = true
		return unstructured.SetNestedSlice(next.Object, append(have, tree), name)
	}
	if w.AggregationRule == nil {
		for i := range w.Rules {
			if ok, _ := validation.Covers(h.Rules, w.Rules[i:i+1]); !ok {
				if err := add("rules", &w.Rules[i]); err != nil {
					return nil, false, err
				}
			}
		}
	} else if h.AggregationRule == nil {
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.AggregationRule)
		if err != nil {
			return nil, false, err
		}
		next.Object["aggregationRule"] = tree
		changed = true
	}
	for i := range w.Subjects {
		found := false
		for _, s := range h.Subjects {
			found = found || s == w.Subjects[i]
		}
		if !found {
			if err := add("subjects", &w.Subjects[i]); err != nil {
				return nil, false, err
			}
		}
	}
	if !changed {
		return nil, false, nil
	}
	return next, false, nil
}
