package storage

import (
	"context"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Types returns the types of the group.
func Types() []define.Type {
	kind := func(kind, plural string, hooks hook.Kind, options ...define.Option) define.Type {
		return define.Type{Definition: define.Kind("storage.k8s.io", "v1", kind, plural, options...), Hooks: hooks}
	}
	return []define.Type{
		kind("StorageClass", "storageclasses", hook.Kind{OnValidate: hook.Typed(validateClass), OnPrint: printClass},
			define.Short("sc"), define.Cluster,
			define.ReturnDeleted, define.Columns("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age")),
		kind("VolumeAttachment", "volumeattachments", hook.Kind{OnPrepare: unattached, OnValidate: hook.Typed(validateAttachment), OnPrint: printAttachment},
			define.Cluster, define.Status,
			define.ReturnDeleted, define.Uncounted, define.Columns("Attacher", "PV", "Node", "Attached:boolean", "Age")),
		kind("VolumeAttributesClass", "volumeattributesclasses", hook.Kind{OnValidate: hook.Typed(validateAttributes), OnPrint: printAttributes},
			define.Short("vac"), define.Cluster, define.ReturnDeleted, define.Columns("DriverName", "Age")),
		kind("CSIDriver", "csidrivers", hook.Kind{OnValidate: hook.Typed(validateDriver), OnPrint: printDriver}, define.Cluster,
			define.ReturnDeleted, define.Columns("AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean", "TokenRequests",
				"RequiresRepublish:boolean", "Modes", "Age")),
		kind("CSINode", "csinodes", hook.Kind{OnValidate: hook.Typed(validateNode), OnPrint: printNode}, define.Cluster,
			define.ReturnDeleted, define.Uncounted, define.Columns("Drivers:integer", "Age")),
		kind("CSIStorageCapacity", "csistoragecapacities", hook.Kind{OnValidate: hook.Typed(validateCapacity), OnPrint: printCapacity},
			define.Columns("Created At:date")),
	}
}

func printClass(o map[string]any) []any {
	name := tree.Str(tree.Map(o, "metadata"), "name")
	marks := tree.In(o, "metadata", "annotations")
	for _, mark := range [...]string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"} {
		if tree.Str(marks, mark) == "true" {
			name += " (default)"
			break
		}
	}
	return []any{
		name, tree.Str(o, "provisioner"), show.Or(tree.Str(o, "reclaimPolicy"), "Delete"),
		show.Or(tree.Str(o, "volumeBindingMode"), "Immediate"), tree.Bool(o, "allowVolumeExpansion"), show.Age(o),
	}
}

// unattached is hook.DropStatus for a status that always says whether the volume is attached.
func unattached(_ context.Context, r *resource.Request) error {
	if r.Operation == resource.Create && r.Subresource == "" {
		r.Object["status"] = map[string]any{"attached": false}
	}
	return nil
}

func printAttachment(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	return []any{
		tree.Str(spec, "attacher"), tree.Str(tree.Map(spec, "source"), "persistentVolumeName"), tree.Str(spec, "nodeName"),
		tree.Bool(tree.Map(o, "status"), "attached"), show.Age(o),
	}
}

func printAttributes(o map[string]any) []any { return []any{tree.Str(o, "driverName"), show.Age(o)} }

func printDriver(o map[string]any) []any {
	spec := tree.Map(o, "spec")
	tokens := show.Unset
	if list, ok := spec["tokenRequests"].([]any); ok {
		var audiences []string
		for _, v := range list {
			audiences = append(audiences, tree.Str(tree.Object(v), "audience"))
		}
		tokens = strings.Join(audiences, ",")
	}
	attach, said := spec["attachRequired"].(bool)
	return []any{
		attach || !said, tree.Bool(spec, "podInfoOnMount"), tree.Bool(spec, "storageCapacity"), tokens,
		tree.Bool(spec, "requiresRepublish"),
		show.Or(strings.Join(tree.Strings(spec, "volumeLifecycleModes"), ","), show.None), show.Age(o),
	}
}

func printNode(o map[string]any) []any {
	return []any{int64(len(tree.List(tree.Map(o, "spec"), "drivers"))), show.Age(o)}
}

// printCapacity prints what upstream does, which has no columns for this kind.
func printCapacity(o map[string]any) []any {
	return []any{tree.Str(tree.Map(o, "metadata"), "creationTimestamp")}
}
