package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// Package is an artifact made from a directory, ready to be signed or pushed.
type Package struct {
	Manifest *manifest.Manifest
	parts    []packed
	paths    []string
	index    *blob
}

// Platforms that it has a binary for, as "os/architecture"; empty for a script.
func (p *Package) Platforms() []string {
	var out []string
	for _, part := range p.parts {
		out = append(out, part.platform)
	}
	return out
}

// Descriptor is what a tag of it stands for.
func (p *Package) Descriptor() ocispec.Descriptor {
	if p.index != nil {
		return p.index.desc
	}
	return p.parts[0].manifest.desc
}

// subjects are the digests that a signature is made of: whoever has the files of one platform
// alone can check theirs.
func (p *Package) subjects() []ocispec.Descriptor {
	out := []ocispec.Descriptor{p.Descriptor()}
	if p.index != nil {
		for _, part := range p.parts {
			out = append(out, part.manifest.desc)
		}
	}
	return out
}

// Pack makes an artifact from a directory: its plugin.yaml with its binary NAME, or its binaries
// NAME-OS-ARCH.
func Pack(dir string) (*Package, error) {
	m, text, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	p := &Package{Manifest: m}
	name := filepath.Join(dir, binaryName(m))
	paths, err := filepath.Glob(strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(name) + "-*-*")
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", dir, err)
	}
	if _, err := os.Stat(name); err == nil {
		paths = append(paths, name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("directory: %w", err)
	}
	for _, path := range paths {
		part, err := packFile(m, text, path)
		if err != nil {
			return nil, err
		}
		if suffix := platformSuffix(part.platform); path != name && !strings.HasSuffix(path, suffix) {
			return nil, refuse("%s is for %s, which its name does not say", path, platformName(part.platform))
		}
		if i := slices.Index(p.Platforms(), part.platform); i >= 0 {
			if part.binary.Digest == p.parts[i].binary.Digest {
				continue
			}
			return nil, refuse("%s and %s are both for %s, and differ", p.paths[i], path, platformName(part.platform))
		}
		p.parts, p.paths = append(p.parts, part), append(p.paths, path)
	}
	switch len(p.parts) {
	case 0:
		return nil, refuse("directory %s has no binary %s", dir, binaryName(m))
	case 1:
		return p, nil
	}
	index, err := packIndex(m, p.parts)
	if err != nil {
		return nil, err
	}
	p.index = &index
	return p, nil
}

func packFile(m *manifest.Manifest, text []byte, path string) (packed, error) {
	f, desc, err := describeFile(path, MaxBinaryBytes)
	if err != nil {
		return packed{}, err
	}
	defer f.Close()
	platform, err := detectPlatform(f)
	if err != nil {
		return packed{}, refuse("%s %w", path, err)
	}
	return pack(m, text, platform, desc)
}

// Publish pushes the plugin in a directory to a registry, with the signatures that lie beside it.
// A reference without a tag gets the plugin's version. It returns the tag and the digest.
func Publish(ctx context.Context, access Access, dir, ref string) (tag string, d digest.Digest, err error) {
	r, err := parseReference(ref)
	if err != nil {
		return "", "", err
	}
	if r.digest != "" {
		return "", "", refuse("reference %q: a digest is the result of a push and can't be asked for", ref)
	}
	p, err := Pack(dir)
	if err != nil {
		return "", "", err
	}
	if r.tag == "" {
		r.tag = VersionTag(p.Manifest.Version)
	}
	if err := checkVersion(p.Manifest, "", r.tag); err != nil {
		return "", "", err
	}
	sigs, err := readSignatureFile(dir)
	if err != nil {
		return "", "", err
	}
	subjects := p.subjects()
	for _, s := range sigs {
		if !slices.ContainsFunc(subjects, func(d ocispec.Descriptor) bool { return d.Digest == s.of }) {
			return "", "", refuse("%s is of other files than those in %s: sign it again", SignatureFile, dir)
		}
	}
	repo, closeIdle, err := access.repository(r)
	if err != nil {
		return "", "", err
	}
	defer closeIdle()
	if err := p.push(ctx, repo, r.tag); err != nil {
		return "", "", explain(r.registry, err)
	}
	for _, subject := range subjects {
		var add []signature
		for _, s := range sigs {
			if s.of == subject.Digest {
				add = append(add, s)
			}
		}
		if len(add) == 0 {
			continue
		}
		same := func(x signature) bool {
			return slices.ContainsFunc(add, func(s signature) bool { return string(s.value) == string(x.value) })
		}
		if err := attach(ctx, repo, subject, add, same); err != nil {
			return "", "", explain(r.registry, err)
		}
	}
	return r.tag, p.Descriptor().Digest, nil
}

func (p *Package) push(ctx context.Context, repo *remote.Repository, tag string) error {
	for i, part := range p.parts {
		for _, b := range []blob{part.config, part.yaml} {
			if err := pushBlob(ctx, repo, b.desc, newReader(b.content)); err != nil {
				return err
			}
		}
		f, err := openRegular(p.paths[i], 0)
		if err != nil {
			return fmt.Errorf("binary: %w", err)
		}
		err = pushBlob(ctx, repo, part.binary, f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p.paths[i], err)
		}
		if p.index == nil {
			return repo.PushReference(ctx, part.manifest.desc, newReader(part.manifest.content), tag)
		}
		if err := repo.Push(ctx, part.manifest.desc, newReader(part.manifest.content)); err != nil {
			return err
		}
	}
	return repo.PushReference(ctx, p.index.desc, newReader(p.index.content), tag)
}

// pushBlob pushes what is not there yet.
func pushBlob(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, r io.Reader) error {
	ok, err := repo.Blobs().Exists(ctx, desc)
	if err != nil || ok {
		return err
	}
	return repo.Blobs().Push(ctx, desc, r)
}
