package core

import (
	"context"
	"maps"
	"path"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/plugins/kubeapi/podspec"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// notSources are the fields of a volume's spec that do not say where its bytes are.
var notSources = []string{
	"accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
	"storageClassName", "volumeAttributesClassName", "volumeMode",
}

// needed are the fields that sources can't do without, by source, where that is all there
// is to check.
var needed = map[string][]string{
	"gcePersistentDisk": {"pdName"}, "awsElasticBlockStore": {"volumeID"}, "glusterfs": {"endpoints", "path"},
	"rbd": {"monitors", "image"}, "cephfs": {"monitors"}, "cinder": {"volumeID"}, "azureFile": {"secretName", "shareName"},
	"azureDisk": {"diskName", "diskURI"}, "vsphereVolume": {"volumePath"}, "photonPersistentDisk": {"pdID"},
	"portworxVolume": {"volumeID"}, "scaleIO": {"gateway", "system", "volumeName"}, "quobyte": {"registry", "volume"},
	"flexVolume": {"driver"},
}

func validateVolume(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	errs = append(errs, checkModes(spec, path.Child("accessModes"), "")...)
	capacity, at := tree.Map(spec, "capacity"), path.Child("capacity")
	if len(capacity) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if _, ok := capacity["storage"]; !ok || len(capacity) > 1 {
		errs = append(errs, field.NotSupported(at, spec["capacity"], []string{"storage"}))
	}
	for key, v := range capacity {
		errs = append(errs, positiveAmount(v, at.Key(key))...)
	}
	affinity, at := tree.Map(spec, "nodeAffinity"), path.Child("nodeAffinity", "required")
	if required := tree.Map(affinity, "required"); required != nil {
		errs = append(errs, podspec.ValidateNodeSelector(required, at)...)
	} else if affinity != nil {
		errs = append(errs, field.Required(at, "must specify required node constraints"))
	}
	errs = append(errs, volumeSources(spec, path)...)
	errs = append(errs, className(spec, "storageClassName", path)...)
	if c, ok := spec["volumeAttributesClassName"].(string); ok {
		if c == "" {
			errs = append(errs, field.Required(path.Child("volumeAttributesClassName"), "an empty string is disallowed"))
		}
		errs = append(errs, className(spec, "volumeAttributesClassName", path)...)
		if spec["csi"] == nil {
			errs = append(errs, field.Required(path.Child("csi"), "has to be specified when using volumeAttributesClassName"))
		}
	}
	if r.Operation == resource.Update && r.Subresource == "" {
		errs = append(errs, volumeUpdate(spec, tree.Map(r.Old, "spec"))...)
	}
	return errs
}

func volumeUpdate(spec, was map[string]any) field.ErrorList {
	var errs field.ErrorList
	sources := func(spec map[string]any) map[string]any {
		out := tree.CopyMap(spec)
		for _, key := range notSources {
			delete(out, key)
		}
		return out
	}
	is, old := sources(spec), sources(was)
	if csi := tree.Map(old, "csi"); csi != nil && csi["controllerExpandSecretRef"] == nil {
		delete(tree.Map(is, "csi"), "controllerExpandSecretRef") // may be set once
	}
	if !tree.Equal(is, old) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			"spec.persistentvolumesource is immutable after creation\n"+difference(is, old)))
	}
	errs = append(errs, check.Unchanged(field.NewPath("volumeMode"), spec["volumeMode"], was["volumeMode"])...)
	if was["nodeAffinity"] != nil {
		errs = append(errs, check.Unchanged(field.NewPath("nodeAffinity"), spec["nodeAffinity"], was["nodeAffinity"])...)
	}
	if was["volumeAttributesClassName"] != nil && spec["volumeAttributesClassName"] == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// checkModes checks how a volume may be mounted.
func checkModes(spec map[string]any, path *field.Path, missing string) field.ErrorList {
	modes := tree.Strings(spec, "accessModes")
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, missing)}
	}
	var errs field.ErrorList
	others := false
	for _, m := range modes {
		switch m {
		case "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany":
			others = true
		case "ReadWriteOncePod":
		default:
			errs = append(errs, field.NotSupported(path, m, []string{"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"}))
		}
	}
	if others && slices.Contains(modes, "ReadWriteOncePod") {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func positiveAmount(v any, path *field.Path) field.ErrorList {
	if q, ok := amount(v); ok && q.Sign() <= 0 {
		return field.ErrorList{field.Invalid(path, q.String(), "must be greater than zero")}
	}
	return nil
}

func className(spec map[string]any, key string, path *field.Path) field.ErrorList {
	if c := tree.Str(spec, key); c != "" {
		return check.Invalid(path.Child(key), c, check.DNSSubdomain(c))
	}
	return nil
}

// volumeSources checks that a volume has one source, and that.
func volumeSources(spec map[string]any, at *field.Path) field.ErrorList {
	var sources []string
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if spec[key] != nil && !slices.Contains(notSources, key) {
			sources = append(sources, key)
		}
	}
	if len(sources) == 0 {
		return field.ErrorList{field.Required(at, "must specify a volume type")}
	}
	var errs field.ErrorList
	for i, key := range sources {
		if i > 0 {
			errs = append(errs, field.Forbidden(at.Child(key), "may not specify more than 1 volume type"))
			continue
		}
		errs = append(errs, volumeSource(key, tree.Map(spec, key), spec, at)...)
	}
	return errs
}

func volumeSource(kind string, s, spec map[string]any, at *field.Path) field.ErrorList {
	source := at.Child(kind)
	switch kind {
	case "hostPath":
		return hostPath(s, spec, source, at)
	case "nfs":
		errs := require(s, source, "server", "path")
		if p := tree.Str(s, "path"); !path.IsAbs(p) {
			errs = append(errs, field.Invalid(source.Child("path"), p, "must be an absolute path"))
		}
		return errs
	case "local":
		errs := require(s, source, "path")
		if len(errs) == 0 {
			errs = check.NoBacksteps(source.Child("path"), tree.Str(s, "path"))
		}
		if spec["nodeAffinity"] == nil {
			errs = append(errs, field.Required(at.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
		return errs
	case "csi":
		errs := check.DriverName(tree.Str(s, "driver"), source.Child("driver"))
		errs = append(errs, require(s, source, "volumeHandle")...)
		for _, key := range [...]string{"controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"} {
			if ref := tree.Map(s, key); ref != nil {
				errs = append(errs, require(ref, source.Child(key), "name", "namespace")...)
			}
		}
		return errs
	case "iscsi":
		return iscsi(s, source)
	case "fc":
		return fibreChannel(s, source)
	}
	return require(s, source, needed[kind]...)
}

func require(o map[string]any, path *field.Path, keys ...string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range keys {
		if v := o[key]; v == nil || v == "" || len(tree.List(o, key)) == 0 && v != nil && tree.Str(o, key) == "" {
			errs = append(errs, field.Required(path.Child(key), ""))
		}
	}
	return errs
}

func hostPath(s, spec map[string]any, source, at *field.Path) field.ErrorList {
	errs := require(s, source, "path")
	if len(errs) > 0 {
		return errs
	}
	p := tree.Str(s, "path")
	errs = append(errs, check.NoBacksteps(source.Child("path"), p)...)
	if path.Clean(p) == "/" && tree.Str(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
		errs = append(errs, field.Forbidden(at.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	return errs
}

// iscsiName is a name of a target or an initiator in any of its three forms.
var iscsiName = regexp.MustCompile(`^(iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$|eui\.[[:alnum:]]{16}$|naa\.[[:alnum:]]{32}$)`)

const maxLUN = 255

func iscsi(s map[string]any, path *field.Path) field.ErrorList {
	errs := require(s, path, "targetPortal", "iqn")
	for _, f := range [...][2]string{{"iqn", "iqn"}, {"initiatorName", "initiatorname"}} {
		if name := tree.Str(s, f[0]); name != "" && !iscsiName.MatchString(name) {
			errs = append(errs, field.Invalid(path.Child(f[1]), name, "must be valid format"))
		}
	}
	if n := tree.Int0(s, "lun"); n < 0 || n > maxLUN {
		errs = append(errs, field.Invalid(path.Child("lun"), n, validation.InclusiveRangeError(0, maxLUN)))
	}
	secret := tree.Map(s, "secretRef")
	switch {
	case secret != nil:
		errs = append(errs, require(secret, path.Child("secretRef"), "name")...)
	case tree.Bool(s, "chapAuthDiscovery") || tree.Bool(s, "chapAuthSession"):
		errs = append(errs, field.Required(path.Child("secretRef"), ""))
	}
	return errs
}

func fibreChannel(s map[string]any, path *field.Path) field.ErrorList {
	targets, ids := tree.Strings(s, "targetWWNs"), tree.Strings(s, "wwids")
	at := path.Child("targetWWNs")
	var errs field.ErrorList
	switch {
	case len(targets) == 0 && len(ids) == 0:
		errs = append(errs, field.Required(at, "must specify either targetWWNs or wwids, but not both"))
	case len(targets) > 0 && len(ids) > 0:
		errs = append(errs, field.Invalid(at, targets, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(targets) == 0 {
		return errs
	}
	switch n, ok := tree.Int(s, "lun"); {
	case !ok:
		errs = append(errs, field.Required(path.Child("lun"), "lun is required if targetWWNs is specified"))
	case n < 0 || n > maxLUN:
		errs = append(errs, field.Invalid(path.Child("lun"), n, validation.InclusiveRangeError(0, maxLUN)))
	}
	return errs
}

// claimSource checks where a claim's volume gets its first content from.
func claimSource(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range [...]string{"dataSource", "dataSourceRef"} {
		ref, at := tree.Map(spec, key), path.Child(key)
		if ref == nil {
			continue
		}
		errs = append(errs, require(ref, at, "name", "kind")...)
		group := tree.Str(ref, "apiGroup")
		if kind := tree.Str(ref, "kind"); group == "" && kind != "PersistentVolumeClaim" {
			errs = append(errs, field.Invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
		}
		if group != "" {
			errs = append(errs, check.Invalid(at.Child("apiGroup"), group, check.DNSSubdomain(group))...)
		}
	}
	source, ref := tree.Map(spec, "dataSource"), tree.Map(spec, "dataSourceRef")
	if source == nil || ref == nil {
		return errs
	}
	if tree.Str(ref, "namespace") != "" {
		return append(errs, field.Invalid(path, source, "may not be specified when dataSourceRef.namespace is specified"))
	}
	if !tree.Equal(source, ref) {
		errs = append(errs, field.Invalid(path, source, "must match dataSourceRef"))
	}
	return errs
}
