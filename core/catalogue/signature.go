package catalogue

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"oras.land/oras-go/v2/errdef"
)

// The names that cosign gives to what it writes.
const (
	simpleSigningType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureArtifact   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	bundleType          = "application/vnd.dev.sigstore.bundle.v0.3+json"
	signPredicate       = "https://sigstore.dev/cosign/sign/v1"
	inTotoType          = "application/vnd.in-toto+json"
	// predicateAnnotation of a bundle's manifest says what the bundle states.
	predicateAnnotation = "dev.sigstore.bundle.predicateType"
)

// signature says that the holder of a key stands for a digest.
type signature struct {
	// of is the digest that it says it signs.
	of digest.Digest
	// signed are the bytes that the key signs, and value is the signature itself.
	signed, value []byte
	// simple says that it is in the format of SignatureFile.
	simple bool
}

// trust says who signed a plugin. A problem is a reason not to run it; an error is one to try
// again.
//
// One good signature is enough, whoever else has signed. Signatures of which none is good are
// refused even where unsigned plugins are allowed: somebody wants it to look signed.
func (c *Catalogue) trust(ctx context.Context, f *found, allowUnsigned bool) (signedBy string, problem, err error) {
	if f.signatures == nil {
		return "", nil, nil
	}
	sigs, err := f.signatures(ctx)
	if err != nil {
		if IsRefused(err) {
			return "", fmt.Errorf("its signature is bad: %w", err), nil
		}
		return "", nil, err
	}
	if len(sigs) == 0 {
		if allowUnsigned {
			return "", nil, nil
		}
		return "", refuse("%w: sign it (pintle plugin sign), or set allowUnsigned where it is named if you trust where it comes from", ErrUnsigned), nil
	}
	var wrong []string
	for _, s := range sigs {
		if s.of != f.top.Digest && s.of != f.desc.Digest {
			wrong = append(wrong, fmt.Sprintf("one is of %s and not of this plugin", s.of))
			continue
		}
		for _, k := range c.keys {
			if k.verifier.VerifySignature(bytes.NewReader(s.value), bytes.NewReader(s.signed)) == nil {
				return k.name, nil, nil
			}
		}
	}
	switch {
	case len(wrong) > 0:
		return "", refuse("its signature is bad: %s", strings.Join(wrong, "; ")), nil
	case len(c.keys) > 0:
		return "", refuse("its signature is bad, or by somebody else: it fits none of the trusted keys (%s)", c.keyNames()), nil
	case allowUnsigned:
		return "", nil, nil
	}
	return "", refuse("it is signed, but no keys are trusted: put the signer's public key into pluginTrust.keys, or set allowUnsigned where it is named"), nil
}

func (c *Catalogue) keyNames() string {
	names := make([]string, len(c.keys))
	for i, k := range c.keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

// signatureTag is where cosign puts the signatures of a digest.
func signatureTag(d digest.Digest) string { return "sha256-" + d.Encoded() + ".sig" }

// readSignatures collects the signatures of an artifact: those of its platform, and those of the
// index that lists it.
func readSignatures(ctx context.Context, o origin, f *found) ([]signature, error) {
	subjects := []ocispec.Descriptor{f.top}
	if f.desc.Digest != f.top.Digest {
		subjects = append(subjects, f.desc)
	}
	var out []signature
	for _, subject := range subjects {
		carriers, err := signatureManifests(ctx, o, subject)
		if err != nil {
			return nil, err
		}
		for _, m := range carriers {
			d, err := readDocument(ctx, o, m)
			if err != nil {
				return nil, err
			}
			if statesOther(d.Annotations) {
				continue
			}
			for _, layer := range d.Layers {
				if len(out) == maxSignatures {
					return nil, refuse("there are more than %d of them", maxSignatures)
				}
				s, ok, err := readSignature(ctx, o, layer)
				if err != nil {
					return nil, err
				}
				if ok {
					out = append(out, s)
				}
			}
		}
	}
	return out, nil
}

// signatureManifests lists the manifests that carry signatures of a subject.
func signatureManifests(ctx context.Context, o origin, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	tagged, err := o.Resolve(ctx, signatureTag(subject.Digest))
	switch {
	case err == nil:
		out = append(out, tagged)
	case !errors.Is(err, errdef.ErrNotFound):
		return nil, err
	}
	referrers, err := o.Predecessors(ctx, subject)
	if err != nil {
		if transient(ctx, err) || ctx.Err() != nil {
			return nil, err
		}
		// A registry that knows no referrers has none.
		return out, nil
	}
	for _, r := range referrers {
		if mayBeSignature(r.ArtifactType) && r.Digest != tagged.Digest && !statesOther(r.Annotations) {
			out = append(out, r)
		}
	}
	return out, nil
}

// mayBeSignature sorts out referrers by their type. Some registries give that of the config
// instead, so those are looked into.
func mayBeSignature(artifactType string) bool {
	switch artifactType {
	case signatureArtifact, bundleType, "", ocispec.MediaTypeEmptyJSON, ocispec.MediaTypeImageConfig:
		return true
	}
	return false
}

// statesOther reports whether a bundle's manifest says that it is no signature but states
// something else: what is in the plugin, or where it was built. Those are many, and may be large.
func statesOther(annotations map[string]string) bool {
	predicate, ok := annotations[predicateAnnotation]
	return ok && predicate != signPredicate
}

func readSignature(ctx context.Context, o origin, layer ocispec.Descriptor) (signature, bool, error) {
	if layer.MediaType != simpleSigningType && layer.MediaType != bundleType {
		return signature{}, false, nil
	}
	if layer.MediaType == bundleType {
		b, err := readSmall(ctx, o, layer, maxDocument)
		if err != nil {
			return signature{}, false, err
		}
		return parseBundle(b)
	}
	b, err := readSmall(ctx, o, layer, maxPayload)
	if err != nil {
		return signature{}, false, err
	}
	s, err := parseSimple(b, layer.Annotations[signatureAnnotation])
	return s, err == nil, err
}

// parseSimple reads a signature in the "simple signing" format.
func parseSimple(text []byte, value string) (signature, error) {
	var p payload.SimpleContainerImage
	if err := json.Unmarshal(text, &p); err != nil {
		return signature{}, refuse("its payload is not in the format of cosign: %w", err)
	}
	if p.Critical.Type != payload.CosignSignatureType {
		return signature{}, refuse("its payload is a %q and not a %q", p.Critical.Type, payload.CosignSignatureType)
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(raw) == 0 {
		return signature{}, refuse("its annotation %s is not in base64", signatureAnnotation)
	}
	return signature{of: digest.Digest(p.Critical.Image.DockerManifestDigest), signed: text, value: raw, simple: true}, nil
}

// bundle is what cosign 3 writes, as far as it is about keys.
type bundle struct {
	Envelope struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

type statement struct {
	PredicateType string `json:"predicateType"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// parseBundle reads a signature from a Sigstore bundle. Bundles that state other things (where
// something was built, what is in it) are no signatures.
func parseBundle(b []byte) (signature, bool, error) {
	var in bundle
	if err := json.Unmarshal(b, &in); err != nil {
		return signature{}, false, refuse("its bundle can't be read: %w", err)
	}
	e := in.Envelope
	if e.PayloadType != inTotoType || len(e.Signatures) != 1 {
		return signature{}, false, nil
	}
	var s statement
	if err := json.Unmarshal(e.Payload, &s); err != nil {
		return signature{}, false, refuse("the statement in its bundle can't be read: %w", err)
	}
	if s.PredicateType != signPredicate || len(s.Subject) != 1 {
		return signature{}, false, nil
	}
	// The envelope's own encoding of what is signed, which names its type (DSSE).
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(e.Payload), e.Payload)
	return signature{of: digestOf(s.Subject[0].Digest["sha256"]), signed: signed, value: e.Signatures[0].Sig}, true, nil
}
