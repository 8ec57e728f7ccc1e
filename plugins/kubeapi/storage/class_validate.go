package storage

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// The most that parameters may be: how many, and how many bytes.
const (
	maxParameters     = 512
	maxParametersSize = 256 << 10
)

func validateClass(r *resource.Request, c, old *storagev1.StorageClass) field.ErrorList {
	if old != nil {
		var errs field.ErrorList
		errs = append(errs, apivalidation.ValidateImmutableField(c.Parameters, old.Parameters, field.NewPath("parameters"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(c.Provisioner, old.Provisioner, field.NewPath("provisioner"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(c.ReclaimPolicy, old.ReclaimPolicy, field.NewPath("reclaimPolicy"))...)
		return append(errs, apivalidation.ValidateImmutableField(c.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	errs = append(errs, provisioner(c.Provisioner, field.NewPath("provisioner"))...)
	errs = append(errs, parameters(c.Parameters, true, field.NewPath("parameters"))...)
	if p := c.ReclaimPolicy; p != nil && *p != "" && *p != corev1.PersistentVolumeReclaimDelete && *p != corev1.PersistentVolumeReclaimRetain {
		errs = append(errs, field.NotSupported(field.NewPath("reclaimPolicy"), *p, []string{"Delete", "Retain"}))
	}
	return append(errs, topologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

func provisioner(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	lower := strings.ToLower(name)
	return check.Invalid(path, lower, validation.IsQualifiedName(lower))
}

func parameters(p map[string]string, mayBeNone bool, path *field.Path) field.ErrorList {
	if len(p) > maxParameters {
		return field.ErrorList{field.TooLong(path, "", maxParameters)}
	}
	var errs field.ErrorList
	size := 0
	for k, v := range p {
		if k == "" {
			errs = append(errs, field.Invalid(path, k, "field can not be empty."))
		}
		size += len(k) + len(v)
	}
	if size > maxParametersSize {
		errs = append(errs, field.TooLong(path, "", maxParametersSize))
	}
	if len(p) == 0 && !mayBeNone {
		errs = append(errs, field.Required(path, "must contain at least one key/value pair"))
	}
	return errs
}

func topologies(terms []corev1.TopologySelectorTerm, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var seen []map[string]sets.Set[string]
	for i := range terms {
		keys, wrong := topology(&terms[i], path.Index(i))
		errs = append(errs, wrong...)
		for _, other := range seen {
			if reflect.DeepEqual(keys, other) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("matchLabelExpressions"), ""))
			}
		}
		seen = append(seen, keys)
	}
	return errs
}

func topology(t *corev1.TopologySelectorTerm, path *field.Path) (map[string]sets.Set[string], field.ErrorList) {
	var errs field.ErrorList
	keys := map[string]sets.Set[string]{}
	for i, e := range t.MatchLabelExpressions {
		at := path.Child("matchLabelExpressions").Index(i)
		values := sets.New[string]()
		if len(e.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), ""))
		}
		for j, v := range e.Values {
			if values.Has(v) {
				errs = append(errs, field.Duplicate(at.Child("values").Index(j), v))
			}
			values.Insert(v)
		}
		errs = append(errs, metav1validation.ValidateLabelName(e.Key, at.Child("key"))...)
		if _, twice := keys[e.Key]; twice {
			errs = append(errs, field.Duplicate(at.Child("key"), e.Key))
		}
		keys[e.Key] = values
	}
	return keys, errs
}

func validateAttributes(r *resource.Request, c, old *storagev1.VolumeAttributesClass) field.ErrorList {
	var errs field.ErrorList
	if old != nil {
		if c.DriverName != old.DriverName {
			errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
		}
		if !reflect.DeepEqual(c.Parameters, old.Parameters) {
			errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
		}
	}
	errs = append(errs, check.Name(r.Object, check.DNSSubdomain)...)
	errs = append(errs, provisioner(c.DriverName, field.NewPath("driverName"))...)
	return append(errs, parameters(c.Parameters, false, field.NewPath("parameters"))...)
}

func validateCapacity(r *resource.Request, c, old *storagev1.CSIStorageCapacity) field.ErrorList {
	class := field.NewPath("storageClassName")
	topology := field.NewPath("nodeTopology")
	if old != nil {
		errs := check.Unchanged(topology, r.Object["nodeTopology"], r.Old["nodeTopology"])
		return append(errs, check.Unchanged(class, c.StorageClassName, old.StorageClassName)...)
	}
	errs := check.Name(r.Object, check.DNSSubdomain)
	errs = append(errs, metav1validation.ValidateLabelSelector(c.NodeTopology, metav1validation.LabelSelectorValidationOptions{}, topology)...)
	errs = append(errs, check.Invalid(class, c.StorageClassName, check.DNSSubdomain(c.StorageClassName))...)
	if q := c.Capacity; q != nil && q.Sign() < 0 {
		errs = append(errs, field.Invalid(field.NewPath("capacity"), q.String(), check.NotNegative))
	}
	return errs
}
