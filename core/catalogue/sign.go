package catalogue

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
)

// SignatureFile lies beside plugin.yaml in a directory that is signed.
const SignatureFile = "plugin.sig"

// signatureFile is its content. Each signature is what would lie at the registry.
type signatureFile struct {
	Signatures []fileSignature `json:"signatures"`
}

type fileSignature struct {
	// Payload that is signed, in cosign's format, and its Signature.
	Payload   []byte `json:"payload"`
	Signature []byte `json:"signature"`
}

// sign makes a signature of a digest. Identity says what it is thought to be the digest of.
func (s *Signer) sign(d digest.Digest, identity string) (signature, error) {
	p := payload.SimpleContainerImage{Critical: payload.Critical{
		Identity: payload.Identity{DockerReference: identity},
		Image:    payload.Image{DockerManifestDigest: d.String()},
		Type:     payload.CosignSignatureType,
	}}
	text, err := json.Marshal(p)
	if err != nil {
		return signature{}, fmt.Errorf("payload of the signature: %w", err)
	}
	value, err := s.key.SignMessage(bytes.NewReader(text))
	if err != nil {
		return signature{}, fmt.Errorf("signing %s: %w", d, err)
	}
	return signature{of: d, signed: text, value: value, simple: true}, nil
}

// made reports whether a signature is by this signer.
func (s *Signer) made(x signature) bool {
	return s.key.VerifySignature(bytes.NewReader(x.value), bytes.NewReader(x.signed)) == nil
}

// SignDirectory signs the plugin in a directory for all platforms that it has a binary for, and
// writes that beside it. What others have signed of the same files stays. It returns the digest
// that the artifact has when it is pushed.
func SignDirectory(dir string, s *Signer) (digest.Digest, error) {
	a, err := Pack(dir)
	if err != nil {
		return "", err
	}
	old, err := readSignatureFile(dir)
	if err != nil && !IsRefused(err) {
		return "", err
	}
	subjects := a.subjects()
	var out signatureFile
	for _, x := range old {
		for _, d := range subjects {
			if x.of == d.Digest && !s.made(x) {
				out.Signatures = append(out.Signatures, fileSignature{x.signed, x.value})
			}
		}
	}
	for _, d := range subjects {
		x, err := s.sign(d.Digest, a.Manifest.Name)
		if err != nil {
			return "", err
		}
		out.Signatures = append(out.Signatures, fileSignature{x.signed, x.value})
	}
	return a.Descriptor().Digest, writeSignatureFile(dir, out)
}

// writeSignatureFile writes the signatures of a directory, or removes those that were there.
func writeSignatureFile(dir string, f signatureFile) error {
	path := filepath.Join(dir, SignatureFile)
	if len(f.Signatures) == 0 {
		return ignoreMissing(os.Remove(path))
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", SignatureFile, err)
	}
	return replaceFile(path, append(b, '\n'), 0o644)
}

// readSignatureFile reads the signatures of a directory; none where there is no file.
func readSignatureFile(dir string) ([]signature, error) {
	f, err := openRegular(filepath.Join(dir, SignatureFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if len(b) > maxDocument {
		return nil, refuse("%s has more than %d bytes", SignatureFile, maxDocument)
	}
	var in signatureFile
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, refuse("%s: %w", SignatureFile, err)
	}
	out := make([]signature, 0, len(in.Signatures))
	for _, s := range in.Signatures {
		x, err := parseSimple(s.Payload, base64.StdEncoding.EncodeToString(s.Signature))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", SignatureFile, err)
		}
		out = append(out, x)
	}
	return out, nil
}

// SignReference signs an artifact at its registry for all its platforms, where cosign would put
// its signatures. It returns the digest of the artifact.
func SignReference(ctx context.Context, access Access, ref string, s *Signer) (digest.Digest, error) {
	r, err := parseReference(ref)
	if err != nil {
		return "", err
	}
	if r.exact() == "" {
		return "", refuse("reference %q: say which one is signed, by tag or digest", ref)
	}
	repo, closeIdle, err := access.repository(r)
	if err != nil {
		return "", err
	}
	defer closeIdle()
	top, err := repo.Resolve(ctx, r.exact())
	if err != nil {
		return "", explain(r.registry, err)
	}
	d, err := readDocument(ctx, repo, top)
	if err != nil {
		return "", explain(r.registry, err)
	}
	for _, subject := range append([]ocispec.Descriptor{top}, d.Manifests...) {
		x, err := s.sign(subject.Digest, r.name())
		if err != nil {
			return "", err
		}
		if err := attach(ctx, repo, subject, []signature{x}, s.made); err != nil {
			return "", explain(r.registry, err)
		}
	}
	return top.Digest, nil
}

// attach adds signatures to those that a registry has of a subject. Of those that are there, the
// ones that drop names are replaced.
func attach(ctx context.Context, repo *remote.Repository, subject ocispec.Descriptor, add []signature, drop func(signature) bool) error {
	subject = ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	var layers []ocispec.Descriptor
	tag := signatureTag(subject.Digest)
	old, err := repo.Resolve(ctx, tag)
	switch {
	case err == nil:
		d, err := readDocument(ctx, repo, old)
		if err != nil {
			return err
		}
		for _, layer := range d.Layers {
			x, ok, err := readSignature(ctx, repo, layer)
			if err == nil && ok && !drop(x) {
				layers = append(layers, layer)
			}
		}
	case !errors.Is(err, errdef.ErrNotFound):
		return err
	}
	for _, x := range add {
		b := newBlob(simpleSigningType, x.signed)
		if err := pushBlob(ctx, repo, b.desc, newReader(b.content)); err != nil {
			return err
		}
		b.desc.Annotations = map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(x.value)}
		layers = append(layers, b.desc)
	}
	image := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.Digest)
	}
	b, err := json.Marshal(image)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	config := newBlob(ocispec.MediaTypeImageConfig, b)
	if err := pushBlob(ctx, repo, config.desc, newReader(config.content)); err != nil {
		return err
	}
	b, err = json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: signatureArtifact,
		Config: config.desc, Layers: layers, Subject: &subject,
	})
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	m := newBlob(ocispec.MediaTypeImageManifest, b)
	if err := repo.PushReference(ctx, m.desc, newReader(m.content), tag); err != nil {
		return fmt.Errorf("pushing the signature of %s: %w", subject.Digest, err)
	}
	return nil
}

// replaceFile writes a file as a whole or not at all.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
