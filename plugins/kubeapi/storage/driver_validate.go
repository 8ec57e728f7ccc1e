package storage

import (
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	maxNodeID           = 256
	shortestToken       = 10 * 60
	longestToken        = 1 << 32
	shortestUpdate      = 10
	maxAttachmentSize   = 256 << 10
	maxVolumeErrorBytes = 1024
)

func validateDriver(r *resource.Request, d, old *storagev1.CSIDriver) field.ErrorList {
	var errs field.ErrorList
	if old == nil {
		errs = check.Name(r.Object, check.DNSSubdomain)
	}
	path := field.NewPath("spec")
	s := &d.Spec
	for i, mode := range s.VolumeLifecycleModes {
		if mode != storagev1.VolumeLifecyclePersistent && mode != storagev1.VolumeLifecycleEphemeral {
			errs = append(errs, field.NotSupported(path.Child("volumeLifecycleModes"), s.VolumeLifecycleModes[i], []string{"Persistent", "Ephemeral"}))
		}
	}
	errs = append(errs, tokenRequests(s.TokenRequests, path.Child("tokenRequests"))...)
	if n := s.NodeAllocatableUpdatePeriodSeconds; n != nil && *n < shortestUpdate {
		errs = append(errs, field.Invalid(path.Child("nodeAllocatableUpdatePeriodSeconds"), *n, "must be greater than or equal to 10 seconds"))
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(path.Child("serviceAccountTokenInSecrets"), *s.ServiceAccountTokenInSecrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	if p := s.FSGroupPolicy; p != nil {
		switch *p {
		case storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy:
		default:
			errs = append(errs, field.NotSupported(path.Child("fsGroupPolicy"), *p, []string{"File", "None", "ReadWriteOnceWithFSType"}))
		}
	}
	if old != nil {
		errs = append(errs, apivalidation.ValidateImmutableField(s.AttachRequired, old.Spec.AttachRequired, path.Child("attachedRequired"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(s.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, path.Child("volumeLifecycleModes"))...)
	}
	return errs
}

func tokenRequests(list []storagev1.TokenRequest, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range list {
		t, at := &list[i], path.Index(i)
		if seen[t.Audience] {
			errs = append(errs, field.Duplicate(at.Child("audience"), t.Audience))
			continue
		}
		seen[t.Audience] = true
		switch n := t.ExpirationSeconds; {
		case n == nil:
		case *n < shortestToken:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration less than 10 minutes"))
		case *n > longestToken:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}

func validateNode(r *resource.Request, n, old *storagev1.CSINode) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("spec", "drivers")
	seen := map[string]bool{}
	for i := range n.Spec.Drivers {
		d, at := &n.Spec.Drivers[i], path.Index(i)
		errs = append(errs, nodeDriver(d, at)...)
		if seen[d.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), d.Name))
		}
		seen[d.Name] = true
	}
	if old == nil {
		return errs
	}
	for i := range n.Spec.Drivers {
		for j := range old.Spec.Drivers {
			is, was := n.Spec.Drivers[i].DeepCopy(), old.Spec.Drivers[j].DeepCopy()
			if is.Name != was.Name {
				continue
			}
			is.Allocatable, was.Allocatable = nil, nil // may change
			errs = append(errs, apivalidation.ValidateImmutableField(is, was, path)...)
		}
	}
	return errs
}

func nodeDriver(d *storagev1.CSINodeDriver, path *field.Path) field.ErrorList {
	errs := check.DriverName(d.Name, path.Child("name"))
	switch at := path.Child("nodeID"); {
	case d.NodeID == "":
		errs = append(errs, field.Required(at, ""))
	case len(d.NodeID) > maxNodeID:
		errs = append(errs, field.Invalid(at, d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeID)))
	}
	if a := d.Allocatable; a != nil && a.Count != nil && *a.Count < 0 {
		errs = append(errs, field.Invalid(path.Child("allocatable", "count"), *a.Count, check.NotNegative))
	}
	seen := map[string]bool{}
	for _, key := range d.TopologyKeys {
		if key == "" {
			errs = append(errs, field.Required(path, ""))
		}
		if seen[key] {
			errs = append(errs, field.Duplicate(path, key))
		}
		seen[key] = true
		errs = append(errs, check.Invalid(path, key, validation.IsQualifiedName(key))...)
	}
	return errs
}

func validateAttachment(r *resource.Request, a, old *storagev1.VolumeAttachment) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("spec")
	errs = append(errs, check.DriverName(a.Spec.Attacher, path.Child("attacher"))...)
	source, name := path.Child("source"), a.Spec.Source.PersistentVolumeName
	switch inline := a.Spec.Source.InlineVolumeSpec != nil; {
	case !inline && name == nil:
		errs = append(errs, field.Required(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case inline && name != nil:
		errs = append(errs, field.Forbidden(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case name != nil && *name == "":
		errs = append(errs, field.Required(source.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
	}
	errs = append(errs, check.Invalid(path.Child("nodeName"), a.Spec.NodeName, check.DNSSubdomain(a.Spec.NodeName))...)
	errs = append(errs, attachmentStatus(&a.Status, field.NewPath("status"))...)
	if name != nil {
		errs = append(errs, check.Invalid(source.Child("persistentVolumeName"), *name, check.DNSSubdomain(*name))...)
	}
	if old != nil {
		errs = append(errs, apivalidation.ValidateImmutableField(a.Spec, old.Spec, path)...)
	}
	return errs
}

func attachmentStatus(s *storagev1.VolumeAttachmentStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for k, v := range s.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > maxAttachmentSize {
		errs = append(errs, field.TooLong(path.Child("attachmentMetadata"), "", maxAttachmentSize))
	}
	errs = append(errs, volumeError(s.AttachError, path.Child("attachError"))...)
	return append(errs, volumeError(s.DetachError, path.Child("detachError"))...)
}

func volumeError(e *storagev1.VolumeError, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if e == nil {
		return nil
	}
	if len(e.Message) > maxVolumeErrorBytes {
		errs = append(errs, field.TooLong(path.Child("message"), "", maxAttachmentSize))
	}
	if c := e.ErrorCode; c != nil && *c < 0 {
		errs = append(errs, field.Invalid(path.Child("errorCode"), *c, validation.InclusiveRangeError(0, 1<<31-1)))
	}
	return errs
}
