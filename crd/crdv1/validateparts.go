package crdv1

import (
	"crypto/x509"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd/webhookclient"
)

// Types and formats of printer columns.
var (
	columnTypes   = []string{"boolean", "date", "integer", "number", "string"}
	columnFormats = []string{"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}
)

func validateColumn(c *apiextensionsv1.CustomResourceColumnDefinition, path *field.Path) (errs field.ErrorList) {
	if c.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	types := "must be one of " + strings.Join(columnTypes, ",")
	if c.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), types))
	} else if !slices.Contains(columnTypes, c.Type) {
		errs = append(errs, field.Invalid(path.Child("type"), c.Type, types))
	}
	if c.Format != "" && !slices.Contains(columnFormats, c.Format) {
		errs = append(errs, field.Invalid(path.Child("format"), c.Format, "must be one of "+strings.Join(columnFormats, ",")))
	}
	if c.JSONPath == "" {
		return append(errs, field.Required(path.Child("JSONPath"), ""))
	}
	return append(errs, simplePath(c.JSONPath, path.Child("JSONPath"))...)
}

// simplePath checks a path in dot notation.
func simplePath(text string, path *field.Path, under ...string) field.ErrorList {
	if text[0] != '.' {
		return field.ErrorList{field.Invalid(path, text, "must be a simple json path starting with .")}
	}
	if len(under) == 0 || slices.ContainsFunc(under, func(u string) bool { return strings.HasPrefix(text, u+".") }) {
		return nil
	}
	where := under[0]
	if len(under) > 1 {
		where = "either " + strings.Join(under, " or ")
	}
	return field.ErrorList{field.Invalid(path, text, "should be a json path under "+where)}
}

func validateSubresources(s *apiextensionsv1.CustomResourceSubresources, path *field.Path) (errs field.ErrorList) {
	if s == nil || s.Scale == nil {
		return nil
	}
	required := func(name, text, under string) {
		at := path.Child("scale." + name)
		if text == "" {
			errs = append(errs, field.Required(at, ""))
			return
		}
		errs = append(errs, simplePath(text, at, under)...)
	}
	required("specReplicasPath", s.Scale.SpecReplicasPath, ".spec")
	required("statusReplicasPath", s.Scale.StatusReplicasPath, ".status")
	if p := s.Scale.LabelSelectorPath; p != nil && *p != "" {
		errs = append(errs, simplePath(*p, path.Child("scale.labelSelectorPath"), ".spec", ".status")...)
	}
	return errs
}

// reviewVersions are the versions of ConversionReview that are understood.
var reviewVersions = []string{"v1", "v1beta1"}

func validateConversion(c, old *apiextensionsv1.CustomResourceDefinition, path *field.Path) (errs field.ErrorList) {
	conv := c.Spec.Conversion
	if conv == nil {
		return nil
	}
	errs = oneOf(path.Child("strategy"), conv.Strategy, apiextensionsv1.NoneConverter, apiextensionsv1.WebhookConverter)
	// Upstream reports these fields by the names it has for them internally.
	config, reviews := path.Child("webhookClientConfig"), path.Child("conversionReviewVersions")
	var client *apiextensionsv1.WebhookClientConfig
	var versions []string
	if conv.Webhook != nil {
		client, versions = conv.Webhook.ClientConfig, conv.Webhook.ConversionReviewVersions
	}
	if conv.Strategy != apiextensionsv1.WebhookConverter {
		const detail = "should not be set when strategy is not set to Webhook"
		if client != nil {
			errs = append(errs, field.Forbidden(config, detail))
		}
		if len(versions) > 0 {
			errs = append(errs, field.Forbidden(reviews, detail))
		}
		return errs
	}
	if client == nil {
		errs = append(errs, field.Required(config, "required when strategy is set to Webhook"))
	} else {
		errs = append(errs, validateClient(client, config)...)
		if established(old) && len(client.CABundle) > 0 && !validBundle(client.CABundle) && validBundleOf(old) {
			errs = append(errs, field.Invalid(config.Child("caBundle"), client.CABundle, "unable to load root certificates: unable to parse bytes as PEM block"))
		}
	}
	return append(errs, validateReviewVersions(versions, reviews)...)
}

func established(c *apiextensionsv1.CustomResourceDefinition) bool {
	return c != nil && apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Established)
}

func validBundle(pem []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(pem) }

// validBundleOf reports whether a definition's bundle is valid or absent: one that is
// invalid already may be replaced by another invalid one.
func validBundleOf(c *apiextensionsv1.CustomResourceDefinition) bool {
	conv := c.Spec.Conversion
	if conv == nil || conv.Webhook == nil || conv.Webhook.ClientConfig == nil || len(conv.Webhook.ClientConfig.CABundle) == 0 {
		return true
	}
	return validBundle(conv.Webhook.ClientConfig.CABundle)
}

func validateReviewVersions(versions []string, path *field.Path) (errs field.ErrorList) {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	accepted := false
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		for _, msg := range utilvalidation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, msg))
		}
		accepted = accepted || slices.Contains(reviewVersions, v)
	}
	if !accepted {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of "+strings.Join(reviewVersions, ", ")))
	}
	return errs
}

func validateClient(c *apiextensionsv1.WebhookClientConfig, path *field.Path) (errs field.ErrorList) {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return webhookclient.CheckURL(*c.URL, path.Child("url"))
	}
	s, path := c.Service, path.Child("service")
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if s.Namespace == "" {
		errs = append(errs, field.Required(path.Child("namespace"), ""))
	}
	return append(errs, webhookclient.CheckEndpoint(s.Port, s.Path, path)...)
}
