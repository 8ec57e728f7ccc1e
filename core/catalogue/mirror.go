package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// Copied is what was pulled.
type Copied struct {
	Manifest *manifest.Manifest
	// Tag that was chosen or named, and Digest of the artifact.
	Tag    string
	Digest digest.Digest
	// Path of the directory that it was written to.
	Path string
	// Signatures that came with it. None has been checked.
	Signatures int
}

// Mirror copies an artifact with all its platforms and signatures into a mirror: a directory that
// holds an OCI image layout for each repository. A reference without tag and digest takes the
// newest version that fits the constraint.
func Mirror(ctx context.Context, access Access, ref, constraint, mirror string) (Copied, error) {
	r, repo, f, done, err := lookUp(ctx, access, ref, constraint)
	if err != nil {
		return Copied{}, err
	}
	defer done()
	out := Copied{Manifest: f.manifest, Tag: f.tag, Digest: f.top.Digest, Path: mirrorPath(mirror, r)}
	if err := os.MkdirAll(out.Path, 0o755); err != nil {
		return out, fmt.Errorf("mirror: %w", err)
	}
	store, err := oci.NewWithContext(ctx, out.Path)
	if err != nil {
		return out, fmt.Errorf("mirror %s: %w", out.Path, err)
	}
	options := oras.CopyGraphOptions{Concurrency: 2, PreCopy: func(_ context.Context, d ocispec.Descriptor) error {
		if d.Size > MaxBinaryBytes {
			return refuse("%s has %d bytes, at most %d are taken", d.Digest, d.Size, MaxBinaryBytes)
		}
		return nil
	}}
	if err := oras.CopyGraph(ctx, repo, store, f.top, options); err != nil {
		return out, explain(r.registry, err)
	}
	tag := f.tag
	if tag == "" {
		// By a tag it is found by its version as well.
		tag = VersionTag(f.manifest.Version)
	}
	if err := store.Tag(ctx, f.top, tag); err != nil {
		return out, fmt.Errorf("mirror %s: %w", out.Path, err)
	}
	d, err := readDocument(ctx, store, f.top)
	if err != nil {
		return out, err
	}
	for _, subject := range append([]ocispec.Descriptor{f.top}, d.Manifests...) {
		carriers, err := signatureManifests(ctx, repo, subject)
		if err != nil {
			return out, explain(r.registry, err)
		}
		for _, m := range carriers {
			if err := oras.CopyGraph(ctx, repo, store, m, options); err != nil {
				return out, explain(r.registry, err)
			}
			out.Signatures++
		}
		// cosign's tag, as not all look for referrers.
		tagged, err := repo.Resolve(ctx, signatureTag(subject.Digest))
		if errors.Is(err, errdef.ErrNotFound) {
			continue
		}
		if err != nil {
			return out, explain(r.registry, err)
		}
		if err := store.Tag(ctx, tagged, signatureTag(subject.Digest)); err != nil {
			return out, fmt.Errorf("mirror %s: %w", out.Path, err)
		}
	}
	return out, nil
}

// Unpack writes an artifact's files for one platform ("os/architecture") into a directory, as
// they lay where it was pushed from: plugin.yaml, the binary and its signatures.
func Unpack(ctx context.Context, access Access, ref, constraint, platform, dir string) (Copied, error) {
	r, repo, f, done, err := lookUpFor(ctx, access, ref, constraint, platform)
	if err != nil {
		return Copied{}, err
	}
	defer done()
	out := Copied{Manifest: f.manifest, Tag: f.tag, Digest: f.top.Digest, Path: dir}
	sigs, err := readSignatures(ctx, repo, f)
	if err != nil {
		return out, explain(r.registry, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return out, fmt.Errorf("directory: %w", err)
	}
	body, err := repo.Fetch(ctx, f.binary)
	if err != nil {
		return out, explain(r.registry, err)
	}
	defer body.Close()
	if err := unpackBinary(filepath.Join(dir, binaryName(f.manifest)), f.binary, body); err != nil {
		return out, err
	}
	if err := replaceFile(filepath.Join(dir, manifest.FileName), f.text, 0o644); err != nil {
		return out, err
	}
	var file signatureFile
	for _, s := range sigs {
		// The index is of other platforms too, of which nothing is in the directory.
		if s.of == f.desc.Digest && s.simple {
			file.Signatures = append(file.Signatures, fileSignature{s.signed, s.value})
		}
	}
	out.Signatures = len(file.Signatures)
	return out, writeSignatureFile(dir, file)
}

func unpackBinary(path string, desc ocispec.Descriptor, r io.Reader) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".pull-*")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // what stays is named like what it is
	c := &cache{dir: tmp}
	if err := c.prepare(); err != nil {
		return err
	}
	return c.write(path, 0o755, desc, r)
}

func lookUp(ctx context.Context, access Access, ref, constraint string) (reference, *remote.Repository, *found, func(), error) {
	return lookUpFor(ctx, access, ref, constraint, "")
}

// lookUpFor finds an artifact at its registry for a platform; for the first that it has where
// none is named.
func lookUpFor(ctx context.Context, access Access, ref, constraint, platform string) (reference, *remote.Repository, *found, func(), error) {
	r, err := parseReference(ref)
	if err != nil {
		return r, nil, nil, nil, err
	}
	repo, closeIdle, err := access.repository(r)
	if err != nil {
		return r, nil, nil, nil, err
	}
	f, err := findIn(ctx, repo, r, constraint, platform, MaxBinaryBytes)
	if err != nil {
		closeIdle()
		if IsRefused(err) {
			return r, nil, nil, nil, err
		}
		return r, nil, nil, nil, explain(r.registry, err)
	}
	return r, repo, f, closeIdle, nil
}
