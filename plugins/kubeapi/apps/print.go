package apps

import (
	"fmt"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func printDeployment(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	names, images := show.Containers(tree.In(spec, "template", "spec"))
	return []any{
		fmt.Sprintf("%d/%d", tree.Int0(status, "readyReplicas"), tree.Int0(spec, "replicas")),
		tree.Int0(status, "updatedReplicas"), tree.Int0(status, "availableReplicas"), show.Age(o),
		names, images, show.Selector(tree.Map(spec, "selector")),
	}
}

func printReplicaSet(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	names, images := show.Containers(tree.In(spec, "template", "spec"))
	return []any{
		tree.Int0(spec, "replicas"), tree.Int0(status, "replicas"), tree.Int0(status, "readyReplicas"), show.Age(o),
		names, images, show.Selector(tree.Map(spec, "selector")),
	}
}

func printStatefulSet(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	names, images := show.Containers(tree.In(spec, "template", "spec"))
	return []any{
		fmt.Sprintf("%d/%d", tree.Int0(status, "readyReplicas"), tree.Int0(spec, "replicas")), show.Age(o), names, images,
	}
}

func printDaemonSet(o map[string]any) []any {
	spec, status := tree.Map(o, "spec"), tree.Map(o, "status")
	pod := tree.In(spec, "template", "spec")
	names, images := show.Containers(pod)
	return []any{
		tree.Int0(status, "desiredNumberScheduled"), tree.Int0(status, "currentNumberScheduled"),
		tree.Int0(status, "numberReady"), tree.Int0(status, "updatedNumberScheduled"), tree.Int0(status, "numberAvailable"),
		show.Labels(tree.StringMap(pod, "nodeSelector")), show.Age(o), names, images, show.Selector(tree.Map(spec, "selector")),
	}
}

func printRevision(o map[string]any) []any {
	controller := show.None
	for _, v := range tree.List(tree.Map(o, "metadata"), "ownerReferences") {
		owner := tree.Object(v)
		if !tree.Bool(owner, "controller") {
			continue
		}
		kind := tree.Str(owner, "kind")
		if group, _, ok := strings.Cut(tree.Str(owner, "apiVersion"), "/"); ok {
			kind += "." + group
		}
		controller = strings.ToLower(kind) + "/" + tree.Str(owner, "name")
	}
	return []any{controller, tree.Int0(o, "revision"), show.Age(o)}
}
