package core

import (
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// prepareSource makes the two fields that say where a claim's first content comes from say
// the same. The older one alone takes only claims and snapshots; anything else in it is
// dropped.
func prepareSource(r *resource.Request) {
	spec := tree.Map(r.Object, "spec")
	source, ref := tree.Map(spec, "dataSource"), tree.Map(spec, "dataSourceRef")
	if source != nil && ref == nil && tree.In(r.Old, "spec", "dataSource") == nil {
		group, kind := tree.Str(source, "apiGroup"), tree.Str(source, "kind")
		if !(group == "" && kind == "PersistentVolumeClaim" || group == "snapshot.storage.k8s.io" && kind == "VolumeSnapshot") {
			delete(spec, "dataSource")
			source = nil
		}
	}
	switch {
	case source != nil && ref == nil:
		spec["dataSourceRef"] = tree.CopyMap(source)
	case ref != nil && source == nil && tree.Str(ref, "namespace") == "":
		source = tree.CopyMap(ref)
		delete(source, "namespace")
		spec["dataSource"] = source
	}
}
