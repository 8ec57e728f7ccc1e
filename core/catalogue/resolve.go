package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

// findArtifact looks for an artifact: in the mirror, and where that has none, at the registry.
func (c *Catalogue) findArtifact(ctx context.Context, s host.Source) (*found, func(), error) {
	r, err := parseReference(s.OCI)
	if err != nil {
		return nil, nil, err
	}
	if c.config.Mirror != "" {
		f, err := c.findMirrored(ctx, r, s)
		if err == nil {
			return f, func() {}, nil
		}
		var none *noVersion
		if !errors.Is(err, errdef.ErrNotFound) && !errors.As(err, &none) {
			return nil, nil, err
		}
	}
	repository, closeIdle, err := c.config.Access.repository(r)
	if err != nil {
		return nil, nil, err
	}
	var o origin = repository
	if c.config.Offline {
		o = offline{c.config.Mirror}
	}
	session := newSession(o, c.cache, r.name(), c.config.Logger)
	f, err := findIn(ctx, session, r, s.Version, c.config.Platform, c.config.MaxBinary)
	if err != nil {
		closeIdle()
		var none *noVersion
		switch {
		case errors.Is(err, errdef.ErrNotFound):
			return nil, nil, refuse("registry %s has no such artifact: %w", r.registry, err)
		case errors.As(err, &none):
			return nil, nil, &refusal{err}
		case IsRefused(err):
			return nil, nil, err
		case c.config.Offline:
			return nil, nil, &refusal{err}
		}
		return nil, nil, explain(r.registry, err)
	}
	binary := f.binary
	f.open = func(ctx context.Context) (io.ReadCloser, error) {
		body, err := o.Fetch(ctx, binary)
		if err != nil {
			return nil, explain(r.registry, err)
		}
		return body, nil
	}
	f.done = func(ctx context.Context) (held, error) {
		return held{Repository: r.name(), Blobs: session.blobs}, session.keep(ctx)
	}
	return f, closeIdle, nil
}

// findMirrored looks in the mirror alone.
func (c *Catalogue) findMirrored(ctx context.Context, r reference, s host.Source) (*found, error) {
	o, err := openMirror(ctx, c.config.Mirror, r)
	if err != nil {
		return nil, err
	}
	f, err := findIn(ctx, o, r, s.Version, c.config.Platform, c.config.MaxBinary)
	if err != nil {
		return nil, fmt.Errorf("mirror %s: %w", c.config.Mirror, err)
	}
	f.open = func(ctx context.Context) (io.ReadCloser, error) { return o.Fetch(ctx, f.binary) }
	f.done = func(context.Context) (held, error) { return held{}, nil }
	return f, nil
}

// findIn reads an artifact for a platform from a repository, up to its binary.
func findIn(ctx context.Context, o origin, r reference, constraint, platform string, maxBinary int64) (*found, error) {
	f := &found{tag: r.tag}
	if r.exact() == "" {
		var tags []string
		if err := o.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil {
			return nil, err
		}
		tag, err := newest(tags, constraint)
		if err != nil {
			return nil, err
		}
		f.tag, r.tag = tag, tag
	}
	var err error
	if f.top, err = o.Resolve(ctx, r.exact()); err != nil {
		return nil, err
	}
	if err := readArtifact(ctx, o, f, platform, maxBinary); err != nil {
		return nil, err
	}
	if err := checkVersion(f.manifest, constraint, f.tag); err != nil {
		return nil, err
	}
	f.signatures = func(ctx context.Context) ([]signature, error) {
		sigs, err := readSignatures(ctx, o, f)
		if err != nil && !IsRefused(err) {
			return nil, explain(r.registry, err)
		}
		return sigs, err
	}
	return f, nil
}

// readArtifact goes from f.top to the manifest of a platform, plugin.yaml and the binary's
// descriptor.
func readArtifact(ctx context.Context, o origin, f *found, platform string, maxBinary int64) error {
	f.desc = f.top
	d, err := readDocument(ctx, o, f.desc)
	if err != nil {
		return err
	}
	if d.isIndex() {
		if f.desc, err = d.forPlatform(platform); err != nil {
			return err
		}
		if d, err = readDocument(ctx, o, f.desc); err != nil {
			return err
		}
		if d.isIndex() {
			return refuse("its index lists another index: %s", f.desc.Digest)
		}
	}
	yaml, binary, err := d.layers(maxBinary)
	if err != nil {
		return err
	}
	text, err := readSmall(ctx, o, yaml, manifest.MaxBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", manifest.FileName, err)
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return refuse("%w", err)
	}
	f.manifest, f.text, f.binary = m, text, ocispec.Descriptor{MediaType: BinaryType, Digest: binary.Digest, Size: binary.Size}
	return nil
}

func readDocument(ctx context.Context, o origin, desc ocispec.Descriptor) (document, error) {
	b, err := readSmall(ctx, o, desc, maxDocument)
	if err != nil {
		return document{}, err
	}
	d, err := parseDocument(b)
	if err != nil {
		return d, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return d, nil
}
