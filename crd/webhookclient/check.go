// Package webhookclient validates how a webhook is called, with upstream's messages. The
// types of admission and of conversion webhooks differ, so it takes their fields; where a
// field stands in an object, the caller knows.
package webhookclient

import (
	"fmt"
	"net/url"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// CheckURL validates the URL of a webhook that is no service of the cluster.
func CheckURL(text string, path *field.Path) field.ErrorList {
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

// CheckEndpoint validates port and path of the service at which a webhook is called, both
// optional; path is the service's.
func CheckEndpoint(port *int32, urlPath *string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if port != nil {
		if messages := utilvalidation.IsValidPortNum(int(*port)); len(messages) > 0 {
			errs = append(errs, field.Invalid(path.Child("port"), *port, "port is not valid: "+strings.Join(messages, ", ")))
		}
	}
	if urlPath == nil || *urlPath == "" || *urlPath == "/" {
		return errs
	}
	at := path.Child("path")
	if !strings.HasPrefix(*urlPath, "/") {
		errs = append(errs, field.Invalid(at, *urlPath, "must start with a '/'"))
	}
	for i, segment := range strings.Split(strings.TrimSuffix((*urlPath)[1:], "/"), "/") {
		if segment == "" {
			errs = append(errs, field.Invalid(at, *urlPath, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, message := range utilvalidation.IsDNS1123Subdomain(segment) {
			errs = append(errs, field.Invalid(at, *urlPath, fmt.Sprintf("segment[%d]: %v", i, message)))
		}
	}
	return errs
}
