package core

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func validateEndpoints(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	for i, v := range tree.List(r.Object, "subsets") {
		s, at := tree.Object(v), field.NewPath("subsets").Index(i)
		if len(tree.List(s, "addresses")) == 0 && len(tree.List(s, "notReadyAddresses")) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		for _, key := range [...]string{"addresses", "notReadyAddresses"} {
			for j, a := range tree.List(s, key) {
				errs = append(errs, endpointAddress(tree.Object(a), at.Child(key).Index(j))...)
			}
		}
		ports := tree.List(s, "ports")
		for j, v := range ports {
			p, at := tree.Object(v), at.Child("ports").Index(j)
			if name := tree.Str(p, "name"); name == "" && len(ports) > 1 {
				errs = append(errs, field.Required(at.Child("name"), ""))
			} else if name != "" {
				errs = append(errs, check.Invalid(at.Child("name"), name, check.DNSLabel(name))...)
			}
			errs = append(errs, check.Port(at.Child("port"), tree.Int0(p, "port"))...)
			if a := tree.Str(p, "appProtocol"); a != "" {
				errs = append(errs, check.Invalid(at.Child("appProtocol"), a, validation.IsQualifiedName(a))...)
			}
		}
	}
	return errs
}

func endpointAddress(a map[string]any, at *field.Path) field.ErrorList {
	ip := tree.Str(a, "ip")
	errs := check.IP(at.Child("ip"), ip)
	if h := tree.Str(a, "hostname"); h != "" {
		errs = append(errs, check.Invalid(at.Child("hostname"), h, check.DNSLabel(h))...)
	}
	if n := tree.Str(a, "nodeName"); n != "" {
		errs = append(errs, check.Invalid(at.Child("nodeName"), n, check.DNSSubdomain(n))...)
	}
	return append(errs, check.EndpointIP(ip, at.Child("ip"))...)
}
