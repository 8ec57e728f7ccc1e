package webhook

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd/webhookclient"
)

func checkClient(c *admissionregistrationv1.WebhookClientConfig, path *field.Path) field.ErrorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return webhookclient.CheckURL(*c.URL, path.Child("url"))
	}
	s, path := c.Service, path.Child("service")
	var errs field.ErrorList
	// Upstream takes the one for the other here, and clients see its paths.
	if s.Namespace == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("namespace"), ""))
	}
	return append(errs, webhookclient.CheckEndpoint(s.Port, s.Path, path)...)
}
