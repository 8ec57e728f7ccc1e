package devices

import (
	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
)

// deviceID names a device, and the share of it where it is shared.
type deviceID struct{ Driver, Pool, Device, Share string }

// String is how upstream shows one.
func (d deviceID) String() string {
	s := d.Driver + "/" + d.Pool + "/" + d.Device
	if d.Share != "" {
		s += "/" + d.Share
	}
	return s
}

func claimStatus(c, old *resourcev1.ResourceClaim, path *field.Path) field.ErrorList {
	s, was := &c.Status, &old.Status
	errs := set(s.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize, path.Child("reservedFor"),
		func(r *resourcev1.ResourceClaimConsumerReference) string { return string(r.UID) }, consumer)
	allocated := map[deviceID]bool{}
	if s.Allocation != nil {
		for _, r := range s.Allocation.Devices.Results {
			id := deviceID{Driver: r.Driver, Pool: r.Pool, Device: r.Device}
			if r.ShareID != nil {
				id.Share = string(*r.ShareID)
			}
			allocated[id] = true
		}
	}
	errs = append(errs, set(s.Devices, -1, path.Child("devices"), idOf, func(d *resourcev1.AllocatedDeviceStatus, at *field.Path) field.ErrorList {
		errs := deviceStatus(d, at)
		if id := idOf(d); !allocated[id] {
			errs = append(errs, field.Invalid(at, id, "must be an allocated device in the claim"))
		}
		return errs
	})...)
	if len(s.ReservedFor) > 0 {
		errs = append(errs, reservations(c, old, path.Child("reservedFor"))...)
	}
	switch {
	case s.Allocation != nil && was.Allocation != nil:
		errs = append(errs, apivalidation.ValidateImmutableField(s.Allocation, was.Allocation, path.Child("allocation"))...)
	case s.Allocation != nil:
		errs = append(errs, allocation(s.Allocation, namesOf(&c.Spec.Devices), path.Child("allocation", "devices"))...)
	}
	return errs
}

// reservations checks who may use a claim: nobody before it is allocated, and nobody new
// once it is being deleted.
func reservations(c, old *resourcev1.ResourceClaim, path *field.Path) field.ErrorList {
	if c.Status.Allocation == nil {
		return field.ErrorList{field.Forbidden(path, "may not be specified when `allocated` is not set")}
	}
	if c.DeletionTimestamp == nil {
		return nil
	}
	was := map[resourcev1.ResourceClaimConsumerReference]bool{}
	for _, r := range old.Status.ReservedFor {
		was[r] = true
	}
	for _, r := range c.Status.ReservedFor {
		if !was[r] {
			return field.ErrorList{field.Forbidden(path, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set")}
		}
	}
	return nil
}

func consumer(r *resourcev1.ResourceClaimConsumerReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range [...][2]string{{"resource", r.Resource}, {"name", r.Name}, {"uid", string(r.UID)}} {
		if f[1] == "" {
			errs = append(errs, field.Required(path.Child(f[0]), ""))
		}
	}
	return errs
}

func allocation(a *resourcev1.AllocationResult, names requestNames, path *field.Path) field.ErrorList {
	errs := each(a.Devices.Results, resourcev1.AllocationResultsMaxSize, path.Child("results"),
		func(r *resourcev1.DeviceRequestAllocationResult, path *field.Path) field.ErrorList {
			errs := names.reference(&r.Request, path.Child("request"))
			errs = append(errs, check.DriverName(r.Driver, path.Child("driver"))...)
			errs = append(errs, poolName(r.Pool, path.Child("pool"))...)
			errs = append(errs, label(r.Device, path.Child("device"))...)
			return append(errs, bindingConditions(r.BindingConditions, r.BindingFailureConditions, path)...)
		})
	return append(errs, each(a.Devices.Config, 2*resourcev1.DeviceConfigMaxSize, path.Child("config"),
		func(c *resourcev1.DeviceAllocationConfiguration, path *field.Path) field.ErrorList {
			var errs field.ErrorList
			switch at := path.Child("source"); c.Source {
			case "":
				errs = append(errs, field.Required(at, ""))
			case resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass:
			default:
				errs = append(errs, field.NotSupported(at, c.Source, []string{"FromClaim", "FromClass"}))
			}
			errs = append(errs, set(c.Requests, resourcev1.DeviceRequestsMaxSize, path.Child("requests"), itself, names.reference)...)
			return append(errs, configuration(&c.DeviceConfiguration, path)...)
		})...)
}

func idOf(d *resourcev1.AllocatedDeviceStatus) deviceID {
	id := deviceID{Driver: d.Driver, Pool: d.Pool, Device: d.Device}
	if d.ShareID != nil {
		id.Share = *d.ShareID
	}
	return id
}

func deviceStatus(d *resourcev1.AllocatedDeviceStatus, path *field.Path) field.ErrorList {
	errs := check.DriverName(d.Driver, path.Child("driver"))
	errs = append(errs, poolName(d.Pool, path.Child("pool"))...)
	errs = append(errs, label(d.Device, path.Child("device"))...)
	errs = append(errs, metav1validation.ValidateConditions(d.Conditions, path.Child("conditions"))...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		errs = append(errs, rawObject(d.Data.Raw, resourcev1.AllocatedDeviceStatusDataMaxLength, path.Child("data"))...)
	}
	n := d.NetworkData
	if n == nil {
		return errs
	}
	at := path.Child("networkData")
	if most := resourcev1.NetworkDeviceDataInterfaceNameMaxLength; len(n.InterfaceName) > most {
		errs = append(errs, field.TooLong(at.Child("interfaceName"), "", most))
	}
	if most := resourcev1.NetworkDeviceDataHardwareAddressMaxLength; len(n.HardwareAddress) > most {
		errs = append(errs, field.TooLong(at.Child("hardwareAddress"), "", most))
	}
	return append(errs, set(n.IPs, maxIPs, at.Child("ips"), itself, func(ip *string, path *field.Path) field.ErrorList {
		return validation.IsValidInterfaceAddress(path, *ip)
	})...)
}

// maxIPs is how many addresses a network device may show.
const maxIPs = 16
