package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Pod changes a new pod: the defaults of limit ranges, service account and token volume,
// priority, tolerations of outages, labels of its node, overhead and scheduling of its
// runtime class.
func (p *Plugins) Pod(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if err := p.defaultLimits(ctx, r, spec); err != nil {
		return err
	}
	if err := p.giveServiceAccount(ctx, r, spec); err != nil {
		return err
	}
	if err := p.givePriority(ctx, r, spec); err != nil {
		return err
	}
	p.tolerateOutages(spec)
	if node := tree.Str(spec, "nodeName"); node != "" {
		if err := p.copyTopology(ctx, r, node); err != nil {
			return err
		}
	}
	return p.applyRuntimeClass(ctx, r, spec)
}

// PodUpdate changes a pod that replaces an older one.
func (p *Plugins) PodUpdate(ctx context.Context, r *resource.Request, spec map[string]any) error {
	if p.on(priority) {
		was := tree.Map(r.Old, "spec")
		for _, key := range [...]string{"priority", "preemptionPolicy"} {
			if v, ok := was[key]; ok && spec[key] == nil {
				spec[key] = v
			}
		}
	}
	p.tolerateOutages(spec)
	if node := tree.Str(spec, "nodeName"); node != "" {
		return p.copyTopology(ctx, r, node)
	}
	return nil
}

// Binding changes the binding of a pod to a node, in r.Object.
func (p *Plugins) Binding(ctx context.Context, r *resource.Request) error {
	target := tree.Map(r.Object, "target")
	if kind := tree.Str(target, "kind"); kind != "Node" {
		return nil
	}
	return p.copyTopology(ctx, r, tree.Str(target, "name"))
}

// topologyLabels are copied from nodes to the pods on them, so that a pod can know its place.
var topologyLabels = [...]string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// topologyPaths are where they are in a stored node.
var topologyPaths = [...]string{
	"metadata.labels." + gjson.Escape(corev1.LabelTopologyZone), "metadata.labels." + gjson.Escape(corev1.LabelTopologyRegion),
}

func (p *Plugins) copyTopology(ctx context.Context, r *resource.Request, node string) error {
	if !p.on(podTopologyLabels) || r.Reader == nil || node == "" {
		return nil
	}
	set := func(key, v string) {
		tree.Ensure(tree.Ensure(r.Object, "metadata"), "labels")[key] = v
	}
	// Every binding comes here, and a node is big.
	if reader, ok := r.Reader.(resource.RawReader); ok {
		raw, err := reader.Raw(ctx, nodes, "", node)
		if err != nil {
			return fmt.Errorf("reading node %s: %w", node, err)
		}
		for i, path := range topologyPaths {
			if v := gjson.GetBytes(raw, path); v.Exists() {
				set(topologyLabels[i], v.String())
			}
		}
		return nil
	}
	found, err := r.Reader.Get(ctx, nodes, "", node)
	if err != nil {
		return fmt.Errorf("reading node %s: %w", node, err)
	}
	for _, key := range topologyLabels {
		if v, ok := tree.In(found, "metadata", "labels")[key].(string); ok {
			set(key, v)
		}
	}
	return nil
}

// outageSeconds is how long a pod stays bound to a node that is gone.
const outageSeconds = 300

// tolerateOutages lets a pod stay for a while on a node that is not ready or unreachable,
// unless it says itself how long.
func (p *Plugins) tolerateOutages(spec map[string]any) {
	if !p.on(defaultTolerations) {
		return
	}
	for _, key := range [...]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if tolerates(spec, key) {
			continue
		}
		spec["tolerations"] = append(tree.List(spec, "tolerations"), map[string]any{
			"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": int64(outageSeconds),
		})
	}
}

func tolerates(spec map[string]any, key string) bool {
	for _, v := range tree.List(spec, "tolerations") {
		t := tree.Object(v)
		k, effect := tree.Str(t, "key"), tree.Str(t, "effect")
		if (k == key || k == "") && (effect == "NoExecute" || effect == "") {
			return true
		}
	}
	return false
}

// prepareNode taints a new node until a controller has seen it ready.
func (p *Plugins) prepareNode(_ context.Context, r *resource.Request) error {
	if !p.on(TaintNodes) || r.Operation != resource.Create || r.Subresource != "" {
		return nil
	}
	spec := tree.Ensure(r.Object, "spec")
	for _, v := range tree.List(spec, "taints") {
		if t := tree.Object(v); tree.Str(t, "key") == corev1.TaintNodeNotReady && tree.Str(t, "effect") == "NoSchedule" {
			return nil
		}
	}
	spec["taints"] = append(tree.List(spec, "taints"), map[string]any{"key": corev1.TaintNodeNotReady, "effect": "NoSchedule"})
	return nil
}

// checkResize refuses a resize that the pod's node can't give.
func (p *Plugins) checkResize(ctx context.Context, r *resource.Request) error {
	spec := tree.Map(r.Object, "spec")
	name := tree.Str(spec, "nodeName")
	if !p.on(podResize) || r.Reader == nil || r.Operation != resource.Update || name == "" || tree.Equal(spec, tree.Map(r.Old, "spec")) {
		return nil
	}
	node, err := r.Reader.Get(ctx, nodes, "", name)
	if err != nil {
		return forbidden(r, "failed to get node %q: %w", name, err)
	}
	if node == nil {
		return forbidden(r, "node %q not found", name)
	}
	refuse := func(cause metav1.CauseType, err error) error {
		e := forbidden(r, "%w", err)
		e.ErrStatus.Details.Causes = append(e.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause})
		return e
	}
	if os, ok := tree.In(node, "metadata", "labels")[corev1.LabelOSStable]; ok && os != "linux" {
		return refuse("UnsupportedPlatform", fmt.Errorf("pod resize is only supported on linux nodes, node %q is %q", name, os))
	}
	pod, err := tree.Typed[corev1.Pod](r.Object)
	if err != nil {
		return err
	}
	has, err := tree.Typed[corev1.Node](node)
	if err != nil {
		return err
	}
	if err := fits(pod, has.Status.Allocatable); err != nil {
		return refuse("NodeCapacity", err)
	}
	return nil
}

func fits(pod *corev1.Pod, allocatable corev1.ResourceList) error {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	var wrong []string
	if ask, have := requests.Cpu(), allocatable.Cpu(); ask.Cmp(*have) > 0 {
		wrong = append(wrong, fmt.Sprintf("cpu, requested: %d, allocatable: %d", ask.MilliValue(), have.MilliValue()))
	}
	if ask, have := requests.Memory(), allocatable.Memory(); ask.Cmp(*have) > 0 {
		wrong = append(wrong, fmt.Sprintf("memory, requested: %d, allocatable: %d", ask.Value(), have.Value()))
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New("node didn't have enough allocatable resources: " + strings.Join(wrong, "; "))
}
