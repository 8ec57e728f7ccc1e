package admission

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

const (
	certificatesGroup = "certificates.k8s.io"
	clientSigner      = "kubernetes.io/kube-apiserver-client"
	mastersGroup      = "system:masters"
)

// validateSigningRequest guards requests for certificates: who approves or signs for a signer
// must be allowed to, and nobody gets a certificate that makes them master of the cluster.
func (p *Plugins) validateSigningRequest(ctx context.Context, r *resource.Request) error {
	signer := tree.Str(tree.Map(r.Old, "spec"), "signerName")
	switch {
	case r.Operation == resource.Create && r.Subresource == "":
		return p.checkSubject(r)
	case r.Operation != resource.Update:
		return nil
	case r.Subresource == "approval" && p.on(certificateApproval):
		return p.requireSigner(ctx, r, "approve", signer, "user not permitted to approve requests with signerName %q")
	case r.Subresource == "status" && p.on(certificateSigning):
		now, before := tree.Map(r.Object, "status"), tree.Map(r.Old, "status")
		if tree.Equal(now["certificate"], before["certificate"]) && tree.Equal(now["conditions"], before["conditions"]) {
			return nil
		}
		return p.requireSigner(ctx, r, "sign", signer, "user not permitted to sign requests with signerName %q")
	}
	return nil
}

// validateTrustBundle refuses a bundle for a signer that its author may not attest for.
func (p *Plugins) validateTrustBundle(ctx context.Context, r *resource.Request) error {
	signer := tree.Str(tree.Map(r.Object, "spec"), "signerName")
	if !p.on(trustBundleAttest) || signer == "" || r.Old != nil && tree.Equal(r.Object["spec"], r.Old["spec"]) {
		return nil
	}
	return p.requireSigner(ctx, r, "attest", signer, "user not permitted to attest for signerName %q")
}

func (p *Plugins) requireSigner(ctx context.Context, r *resource.Request, verb, signer, message string) error {
	if p == nil || p.authorize == nil {
		return nil
	}
	names := []string{signer}
	// Permission may be for all signers of a domain.
	if domain, _, ok := strings.Cut(signer, "/"); ok {
		names = append(names, domain+"/*")
	}
	for _, name := range names {
		allowed, err := p.authorize(ctx, r.User, verb, certificatesGroup, "signers", name)
		if err != nil {
			return fmt.Errorf("may %s %s signer %s: %w", r.User.Name, verb, name, err)
		}
		if allowed {
			return nil
		}
	}
	return forbidden(r, message, signer)
}

func (p *Plugins) checkSubject(r *resource.Request) error {
	spec := tree.Map(r.Object, "spec")
	if !p.on(certificateSubject) || tree.Str(spec, "signerName") != clientSigner {
		return nil
	}
	request, err := parseRequest(tree.Str(spec, "request"))
	if err != nil {
		return forbidden(r, "failed to parse CSR: %w", err)
	}
	if slices.Contains(request.Subject.Organization, mastersGroup) {
		return forbidden(r, "use of %s signer with %s group is not allowed", clientSigner, mastersGroup)
	}
	return nil
}

func parseRequest(encoded string) (*x509.CertificateRequest, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes) //nolint:wrapcheck // the caller wraps
}
