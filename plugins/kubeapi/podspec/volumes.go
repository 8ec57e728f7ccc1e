package podspec

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

func (v *validator) volumes(path *field.Path) field.ErrorList {
	list := tree.List(v.spec, "volumes")
	if len(list) == 0 {
		return nil
	}
	var errs field.ErrorList
	v.volumeNames = make(map[string]map[string]any, len(list))
	for i, e := range list {
		volume := tree.Object(e)
		name := tree.Str(volume, "name")
		at := path.Index(i)
		errs = append(errs, validateVolume(volume, at)...)
		if name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else if messages := check.DNSLabel(name); messages != nil {
			errs = append(errs, check.Invalid(at.Child("name"), name, messages)...)
		}
		if _, twice := v.volumeNames[name]; twice {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		} else if name != "" {
			v.volumeNames[name] = volume
		}
	}
	return errs
}

// sources are the kinds of volume, in the order in which upstream looks for a second one.
var sources = [...]string{
	"emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
	"glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
	"flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
	"storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
}

// sourceRequires are fields that must not be empty, by source.
var sourceRequires = map[string][]string{
	"gitRepo":               {"repository"},
	"gcePersistentDisk":     {"pdName"},
	"awsElasticBlockStore":  {"volumeID"},
	"secret":                {"secretName"},
	"iscsi":                 {"targetPortal", "iqn"},
	"glusterfs":             {"endpoints", "path"},
	"persistentVolumeClaim": {"claimName"},
	"rbd":                   {"image"},
	"cinder":                {"volumeID"},
	"flexVolume":            {"driver"},
	"configMap":             {"name"},
	"azureFile":             {"secretName", "shareName"},
	"vsphereVolume":         {"volumePath"},
	"photonPersistentDisk":  {"pdID"},
	"portworxVolume":        {"volumeID"},
	"csi":                   {"driver"},
}

func validateVolume(volume map[string]any, at *field.Path) field.ErrorList {
	if len(volume) == 2 && volume["name"] != nil {
		for key, v := range volume {
			if s := tree.Object(v); s != nil {
				return validateSource(key, s, at.Child(key))
			}
		}
	}
	var errs field.ErrorList
	have := 0
	for _, key := range sources {
		s := tree.Map(volume, key)
		if s == nil {
			continue
		}
		if have++; have > 1 {
			errs = append(errs, field.Forbidden(at.Child(key), "may not specify more than 1 volume type"))
			continue
		}
		errs = append(errs, validateSource(key, s, at.Child(key))...)
	}
	if have == 0 {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

func validateSource(key string, s map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, required := range sourceRequires[key] {
		errs = append(errs, check.Required(s, path, required)...)
	}
	switch key {
	case "emptyDir":
		if q, ok := quantity(s["sizeLimit"]); ok && s["sizeLimit"] != nil && q.Sign() < 0 {
			errs = append(errs, field.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"))
		}
	case "hostPath":
		p := tree.Str(s, "path")
		if p == "" {
			return append(errs, field.Required(path.Child("path"), ""))
		}
		errs = append(errs, check.NoBacksteps(path.Child("path"), p)...)
	case "nfs":
		errs = append(errs, check.Required(s, path, "server")...)
		if p := tree.Str(s, "path"); p == "" {
			errs = append(errs, field.Required(path.Child("path"), ""))
		} else if !strings.HasPrefix(p, "/") {
			errs = append(errs, field.Invalid(path.Child("path"), p, "must be an absolute path"))
		}
	case "secret", "configMap":
		errs = append(errs, check.Mode(s, path, "defaultMode")...)
		errs = append(errs, keysToPaths(tree.List(s, "items"), path.Child("items"))...)
	case "downwardAPI":
		errs = append(errs, check.Mode(s, path, "defaultMode")...)
		for _, f := range tree.List(s, "items") {
			errs = append(errs, downwardFile(tree.Object(f), path)...)
		}
	case "projected":
		errs = append(errs, check.Mode(s, path, "defaultMode")...)
		errs = append(errs, projections(tree.List(s, "sources"), path)...)
	case "ephemeral":
		if tree.Map(s, "volumeClaimTemplate") == nil {
			errs = append(errs, field.Required(path.Child("volumeClaimTemplate"), ""))
		}
	case "cephfs", "rbd":
		if len(tree.List(s, "monitors")) == 0 {
			errs = append(errs, field.Required(path.Child("monitors"), ""))
		}
	}
	return errs
}

func keysToPaths(items []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, e := range items {
		item, at := tree.Object(e), path.Index(i)
		errs = append(errs, check.Required(item, at, "key")...)
		p := tree.Str(item, "path")
		if p == "" {
			errs = append(errs, field.Required(at.Child("path"), ""))
		}
		errs = append(errs, check.LocalPath(at.Child("path"), p)...)
		errs = append(errs, check.Mode(item, at, "mode")...)
	}
	return errs
}

func downwardFile(f map[string]any, path *field.Path) field.ErrorList {
	errs := check.Required(f, path, "path")
	errs = append(errs, check.LocalPath(path.Child("path"), tree.Str(f, "path"))...)
	ref, resource := tree.Map(f, "fieldRef"), tree.Map(f, "resourceFieldRef")
	switch {
	case ref != nil:
		errs = append(errs, fieldRef(ref, path.Child("fieldRef"), volumeFields)...)
		if resource != nil {
			errs = append(errs, field.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case resource != nil:
		errs = append(errs, resourceFieldRef(resource, path.Child("resourceFieldRef"), true)...)
	default:
		errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, check.Mode(f, path, "mode")...)
}

// Bounds of the life of a projected token, in seconds.
const (
	minTokenSeconds = 10 * 60
	maxTokenSeconds = 1 << 32
)

func projections(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, e := range list {
		source, at := tree.Object(e), path.Child("sources").Index(i)
		have := 0
		for _, key := range [...]string{"secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"} {
			s := tree.Map(source, key)
			if s == nil {
				continue
			}
			if have++; have > 1 {
				errs = append(errs, field.Forbidden(at, "may not specify more than 1 volume type per source"))
			}
			errs = append(errs, projection(key, s, path, at.Child(key), seen)...)
		}
	}
	return errs
}

func projection(key string, s map[string]any, path, at *field.Path, seen map[string]bool) field.ErrorList {
	var errs field.ErrorList
	claim := func(file, value string) {
		if file == "" {
			return
		}
		if seen[file] {
			errs = append(errs, field.Invalid(path, value, "conflicting duplicate paths"))
		}
		seen[file] = true
	}
	switch key {
	case "secret", "configMap":
		name := tree.Str(s, "name")
		if name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		errs = append(errs, keysToPaths(tree.List(s, "items"), at.Child("items"))...)
		for _, item := range tree.List(s, "items") {
			claim(tree.Str(tree.Object(item), "path"), name)
		}
	case "downwardAPI":
		for _, f := range tree.List(s, "items") {
			file := tree.Object(f)
			errs = append(errs, downwardFile(file, at)...)
			claim(tree.Str(file, "path"), tree.Str(file, "path"))
		}
	case "serviceAccountToken":
		seconds := tree.Int0(s, "expirationSeconds")
		if seconds < minTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
		}
		if seconds > maxTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
		}
		if file := tree.Str(s, "path"); file == "" {
			errs = append(errs, field.Required(path.Child("path"), ""))
		} else {
			errs = append(errs, check.LocalPath(path.Child("path"), file)...)
			claim(file, file)
		}
	case "clusterTrustBundle":
		errs = append(errs, check.Required(s, at, "path")...)
		claim(tree.Str(s, "path"), tree.Str(s, "path"))
	}
	return errs
}

func (v *validator) mounts(c map[string]any, mounts []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var points map[string]bool
	if len(mounts) > 1 {
		points = make(map[string]bool, len(mounts))
	}
	for i, e := range mounts {
		m := tree.Object(e)
		name, point := tree.Str(m, "name"), tree.Str(m, "mountPath")
		if name == "" {
			errs = append(errs, field.Required(path.Index(i).Child("name"), ""))
		}
		if _, ok := v.volumeNames[name]; !ok {
			errs = append(errs, field.NotFound(path.Index(i).Child("name"), name))
		}
		if point == "" {
			errs = append(errs, field.Required(path.Index(i).Child("mountPath"), ""))
		}
		if points[point] {
			errs = append(errs, field.Invalid(path.Index(i).Child("mountPath"), point, "must be unique"))
		}
		if points != nil {
			points[point] = true
		}
		if len(m) > 2 || c["volumeDevices"] != nil {
			errs = append(errs, v.mountOptions(c, m, path, path.Index(i))...)
		}
	}
	return errs
}

func (v *validator) mountOptions(c, m map[string]any, path, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, d := range tree.List(c, "volumeDevices") {
		device := tree.Object(d)
		if tree.Str(device, "name") == tree.Str(m, "name") {
			errs = append(errs, field.Invalid(at.Child("name"), tree.Str(m, "name"), "must not already exist in volumeDevices"))
		}
		if tree.Str(device, "devicePath") == tree.Str(m, "mountPath") {
			errs = append(errs, field.Invalid(at.Child("mountPath"), tree.Str(m, "mountPath"), "must not already exist as a path in volumeDevices"))
		}
	}
	sub, expr := tree.Str(m, "subPath"), tree.Str(m, "subPathExpr")
	if sub != "" {
		errs = append(errs, check.RelativePath(path.Child("subPath"), sub)...)
	}
	if expr != "" {
		if sub != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), expr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, check.RelativePath(path.Child("subPathExpr"), expr)...)
	}
	if tree.Str(m, "mountPropagation") == "Bidirectional" && !tree.Bool(tree.Map(c, "securityContext"), "privileged") {
		errs = append(errs, field.Forbidden(path.Child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers"))
	}
	if r := tree.Str(m, "recursiveReadOnly"); r == "Enabled" || r == "IfPossible" {
		at := path.Child("recursiveReadOnly")
		if !tree.Bool(m, "readOnly") {
			errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
		}
		if p := tree.Str(m, "mountPropagation"); p != "" && p != "None" {
			errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
		}
	}
	return errs
}

func (v *validator) devices(devices []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names, paths := map[string]bool{}, map[string]bool{}
	for i, e := range devices {
		d, at := tree.Object(e), path.Index(i)
		name, device := tree.Str(d, "name"), tree.Str(d, "devicePath")
		if name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		if names[name] {
			errs = append(errs, field.Invalid(at.Child("name"), name, "must be unique"))
		}
		names[name] = true
		volume, found := v.volumeNames[name]
		if found && volume["persistentVolumeClaim"] == nil && volume["ephemeral"] == nil {
			errs = append(errs, field.Invalid(at.Child("name"), name,
				"can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if !found {
			errs = append(errs, field.NotFound(at.Child("name"), name))
		}
		if device == "" {
			errs = append(errs, field.Required(at.Child("devicePath"), ""))
		}
		if paths[device] {
			errs = append(errs, field.Invalid(at.Child("devicePath"), device, "must be unique"))
		}
		paths[device] = true
		if strings.Contains(device, "..") {
			errs = append(errs, field.Invalid(at.Child("devicePath"), device, "can not contain backsteps ('..')"))
		}
	}
	return errs
}

// claims checks spec.resourceClaims.
func (v *validator) claims(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, e := range tree.List(v.spec, "resourceClaims") {
		c, at := tree.Object(e), path.Index(i)
		name := tree.Str(c, "name")
		switch {
		case name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen[name]:
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		default:
			errs = append(errs, check.Invalid(at.Child("name"), name, check.DNSLabel(name))...)
		}
		seen[name] = true
		switch byName, byTemplate := c["resourceClaimName"] != nil, c["resourceClaimTemplateName"] != nil; {
		case byName && byTemplate:
			errs = append(errs, field.Invalid(at, c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case !byName && !byTemplate:
			errs = append(errs, field.Invalid(at, c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		}
	}
	return errs
}
