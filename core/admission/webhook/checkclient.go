package webhook

import (
	"fmt"
	"net/url"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func checkClient(c *admissionregistrationv1.WebhookClientConfig, path *field.Path) field.ErrorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return checkURL(*c.URL, path.Child("url"))
	}
	return checkService(c.Service, path.Child("service"))
}

func checkURL(text string, path *field.Path) field.ErrorList {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		return field.ErrorList{field.Required(path, "url must be a valid URL: "+err.Error()+form)}
	}
	var errs field.ErrorList
	refuse := func(bad bool, value, message string) {
		if bad {
			errs = append(errs, field.Invalid(path, value, message))
		}
	}
	refuse(u.Scheme != "https", u.Scheme, "'https' is the only allowed URL scheme"+form)
	refuse(u.Host == "", u.Host, "host must be specified"+form)
	refuse(u.User != nil, u.User.String(), "user information is not permitted in the URL")
	refuse(u.Fragment != "", u.Fragment, "fragments are not permitted in the URL")
	refuse(u.RawQuery != "", u.RawQuery, "query parameters are not permitted in the URL")
	return errs
}

func checkService(s *admissionregistrationv1.ServiceReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	// Upstream takes the one for the other here, and clients see its paths.
	if s.Namespace == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("namespace"), ""))
	}
	if s.Port != nil {
		if messages := utilvalidation.IsValidPortNum(int(*s.Port)); len(messages) > 0 {
			errs = append(errs, field.Invalid(path.Child("port"), *s.Port, "port is not valid: "+strings.Join(messages, ", ")))
		}
	}
	if s.Path == nil || *s.Path == "" || *s.Path == "/" {
		return errs
	}
	at := path.Child("path")
	if *s.Path == "//" {
		return append(errs, field.Invalid(at, *s.Path, "segment[0] may not be empty"))
	}
	if !strings.HasPrefix(*s.Path, "/") {
		errs = append(errs, field.Invalid(at, *s.Path, "must start with a '/'"))
	}
	for i, segment := range strings.Split(strings.TrimSuffix((*s.Path)[1:], "/"), "/") {
		if segment == "" {
			errs = append(errs, field.Invalid(at, *s.Path, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, message := range utilvalidation.IsDNS1123Subdomain(segment) {
			errs = append(errs, field.Invalid(at, *s.Path, fmt.Sprintf("segment[%d]: %v", i, message)))
		}
	}
	return errs
}
