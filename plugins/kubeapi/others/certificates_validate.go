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

// keyUsages are what a certificate may be asked for.
var keyUsages = []string{
	"any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
	"decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
	"ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
	"server auth", "signing", "timestamping",
}

func validateRequest(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.PathSegment)
	spec, path := tree.Map(r.Object, "spec"), field.NewPath("spec")
	if r.Operation == resource.Create {
		errs = append(errs, requestSpec(spec, path)...)
	}
	if r.Operation == resource.Update {
		errs = append(errs, requestUpdate(r)...)
	}
	return errs
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
		if !slices.Contains(keyUsages, u) {
			errs = append(errs, field.NotSupported(at.Index(i), u, keyUsages))
		}
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
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err //nolint:wrapcheck // upstream's message is the library's alone
	}
	return request.CheckSignature() //nolint:wrapcheck // as above
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

// requestUpdate checks what is said of a request after it was made.
func requestUpdate(r *resource.Request) field.ErrorList {
	var errs field.ErrorList
	status, was := tree.Map(r.Object, "status"), tree.Map(r.Old, "status")
	path := field.NewPath("status", "conditions")
	if list := tree.List(status, "conditions"); !tree.Equal(list, tree.List(was, "conditions")) {
		errs = append(errs, requestConditions(list, path)...)
	}
	for _, typ := range [...]string{"Approved", "Denied", "Failed"} {
		is, before := len(conditionsOf(r.Object, typ)), len(conditionsOf(r.Old, typ))
		switch {
		case is < before:
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not remove a condition of type %q", typ)))
		case is > before && r.Subresource != "approval" && typ != "Failed":
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not add a condition of type %q", typ)))
		}
	}
	certificate, before := tree.Str(status, "certificate"), tree.Str(was, "certificate")
	if certificate == before {
		return errs
	}
	path = field.NewPath("status", "certificate")
	if err := parseCertificate(certificate); err != nil {
		errs = append(errs, field.Invalid(path, "<certificate data>", err.Error()))
	}
	if before != "" {
		errs = append(errs, field.Forbidden(path, "updates may not modify existing certificate content"))
	}
	return errs
}

// parseCertificate says what is wrong with certificates in PEM in base64.
func parseCertificate(text string) error {
	rest, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("decode base64: %w", err)
	}
	if len(rest) == 0 {
		return nil
	}
	for blocks := 0; ; blocks++ {
		block, more := pem.Decode(rest)
		switch {
		case block == nil && blocks == 0:
			return errors.New("must contain at least one CERTIFICATE PEM block")
		case block == nil:
			return nil
		case block.Type != "CERTIFICATE":
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		case len(block.Headers) > 0:
			return errors.New("no PEM block headers are permitted")
		}
		certificates, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err //nolint:wrapcheck // upstream's message is the library's alone
		}
		if len(certificates) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
		rest = more
	}
}

// opposite are the conditions of which a request has but one.
var opposite = map[string]string{"Approved": "Denied", "Denied": "Approved"}

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
		if other := opposite[typ]; other != "" && slices.Contains(types, other) {
			errs = append(errs, field.Invalid(path, typ, "Approved and Denied conditions are mutually exclusive"))
		}
		types = append(types, typ)
		allowed := []string{"False", "True", "Unknown"}
		if typ == "Approved" || typ == "Denied" || typ == "Failed" {
			allowed = []string{"True"}
		}
		at = path.Index(i).Child("status")
		if status := tree.Str(tree.Object(v), "status"); status == "" {
			errs = append(errs, field.Required(at, ""))
		} else if !slices.Contains(allowed, status) {
			errs = append(errs, field.NotSupported(at, status, allowed))
		}
	}
	return errs
}
