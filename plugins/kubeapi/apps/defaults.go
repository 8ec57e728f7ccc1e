package apps

import (
	"context"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func defaultTemplate(r *resource.Request) {
	podspec.Default(tree.In(r.Object, "spec", "template", "spec"))
}

func defaultDeployment(r *resource.Request) {
	defaultTemplate(r)
	strategy := tree.In(r.Object, "spec", "strategy")
	if tree.Str(strategy, "type") != "RollingUpdate" {
		return
	}
	rolling := tree.Ensure(strategy, "rollingUpdate")
	tree.SetDefault(rolling, "maxUnavailable", "25%")
	tree.SetDefault(rolling, "maxSurge", "25%")
}

func defaultStatefulSet(r *resource.Request) {
	defaultTemplate(r)
	spec := tree.Map(r.Object, "spec")
	if spec == nil {
		return
	}
	strategy := tree.Ensure(spec, "updateStrategy")
	if tree.Str(strategy, "type") == "" {
		strategy["type"] = "RollingUpdate"
		tree.Ensure(strategy, "rollingUpdate")
	}
	if rolling := tree.Map(strategy, "rollingUpdate"); rolling != nil && tree.Str(strategy, "type") == "RollingUpdate" {
		tree.SetDefault(rolling, "partition", int64(0))
	}
	for _, v := range tree.List(spec, "volumeClaimTemplates") {
		claim := tree.Object(v)
		if claim == nil {
			continue
		}
		tree.SetDefault(claim, "apiVersion", "v1")
		tree.SetDefault(claim, "kind", "PersistentVolumeClaim")
	}
}

func defaultDaemonSet(r *resource.Request) {
	defaultTemplate(r)
	strategy := tree.In(r.Object, "spec", "updateStrategy")
	if tree.Str(strategy, "type") != "RollingUpdate" {
		return
	}
	rolling := tree.Ensure(strategy, "rollingUpdate")
	tree.SetDefault(rolling, "maxUnavailable", int64(1))
	tree.SetDefault(rolling, "maxSurge", int64(0))
}

func prepareStatefulSet(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create {
		r.Object["status"] = map[string]any{"replicas": int64(0), "availableReplicas": int64(0)}
	}
	return nil
}

// generationAnnotation counts the templates a daemon set has had, for clients of old.
const generationAnnotation = "deprecated.daemonset.template.generation"

func prepareDaemonSet(_ context.Context, r *resource.Request) error {
	if r.Subresource != "" {
		return nil
	}
	annotations := tree.Ensure(tree.Ensure(r.Object, "metadata"), "annotations")
	if r.Operation == resource.Create {
		annotations[generationAnnotation] = "1"
		r.Object["status"] = map[string]any{
			"currentNumberScheduled": int64(0), "numberMisscheduled": int64(0),
			"desiredNumberScheduled": int64(0), "numberReady": int64(0),
		}
		return nil
	}
	before := tree.Str(tree.In(r.Old, "metadata", "annotations"), generationAnnotation)
	if !tree.Equal(tree.In(r.Object, "spec", "template"), tree.In(r.Old, "spec", "template")) {
		before = next(before)
	}
	if before != "" {
		annotations[generationAnnotation] = before
	}
	return nil
}
