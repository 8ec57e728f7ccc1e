package others

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	legacySigner    = "kubernetes.io/legacy-unknown"
	shortestRequest = 600
)

func validateRequest(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.PathSegment)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	if r.Operation == resource.Create {
		errs = append(errs, requestSpec(spec, path)...)
	}
	return append(errs, requestConditions(tree.List(tree.Map(r.Object, "status"), "conditions"), field.NewPath("status", "conditions"))...)
}

// requestSpec checks what nobody may change later.
func requestSpec(spec map[string]any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if err := parseRequest(tree.Str(spec, "request")); err != nil {
		errs = append(errs, field.Invalid(path.Child("request"), spec["request"], err.Error()))
	}
	usages, at := tree.Strings(spec, "usages"), path.Child("usages")
	if len(usages) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	for i, u := range usages {
		if slices.Contains(usages[:i], u) {
			errs = append(errs, field.Duplicate(at.Index(i), u))
		}
	}
	at = path.Child("signerName")
	if signer := tree.Str(spec, "signerName"); signer == legacySigner {
		errs = append(errs, field.Invalid(at, signer, "the legacy signerName is not allowed via this API version"))
	} else {
		errs = append(errs, signerName(signer, at)...)
	}
	if n, ok := tree.Int(spec, "expirationSeconds"); ok && n < shortestRequest {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), n, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	return errs
}

// parseRequest says what is wrong with a certificate request in PEM in base64.
func parseRequest(text string) error {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("decode base64: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	if _, err := x509.ParseCertificateRequest(block.Bytes); err != nil {
		return err //nolint:wrapcheck // upstream's message is the library's alone
	}
	return nil
}

func signerName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	domain, signer, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(signer, "/") {
		return field.ErrorList{field.Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	tooLong := func(s string, most int) {
		if len(s) > most {
			errs = append(errs, field.TooLong(path, "", most))
		}
	}
	// Of several wrong labels only the first is reported.
	labels := func(s string, valid func(string) []string) {
		for l := range strings.SplitSeq(s, ".") {
			if wrong := valid(l); len(wrong) > 0 {
				for _, w := range wrong {
					errs = append(errs, field.Invalid(path, s, fmt.Sprintf("validating label %q: %s", l, w)))
				}
				return
			}
		}
	}
	tooLong(domain, validation.DNS1123SubdomainMaxLength)
	labels(domain, check.DNSLabel)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(path, domain, "should be a domain with at least two segments separated by dots"))
	}
	labels(signer, check.DNSSubdomain)
	tooLong(signer, validation.DNS1123SubdomainMaxLength+validation.DNS1123LabelMaxLength+1)
	return errs
}

func requestConditions(list []any, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var types []string
	for i, v := range list {
		typ, at := tree.Str(tree.Object(v), "type"), path.Index(i).Child("type")
		if typ == "" {
			errs = append(errs, field.Required(at, ""))
		}
		if slices.Contains(types, typ) {
			errs = append(errs, field.Duplicate(at, typ))
		}
		types = append(types, typ)
	}
	if slices.Contains(types, "Approved") && slices.Contains(types, "Denied") {
		errs = append(errs, field.Invalid(path, types, "Approved and Denied conditions are mutually exclusive"))
	}
	return errs
}
