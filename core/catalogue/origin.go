package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
)

// origin is a repository: at a registry, in a mirror, or as the cache remembers it.
type origin interface {
	// Resolve finds what a tag or digest stands for. errdef.ErrNotFound says that it is not there.
	Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error)
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
	Tags(ctx context.Context, last string, fn func([]string) error) error
	// Predecessors are the manifests whose subject is desc.
	Predecessors(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error)
}

// readSmall fetches a content as a whole and compares it with its descriptor.
func readSmall(ctx context.Context, o origin, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if desc.Size > limit {
		return nil, refuse("%s has %d bytes, at most %d are read", desc.Digest, desc.Size, limit)
	}
	r, err := o.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := content.ReadAll(r, desc)
	switch {
	case errors.Is(err, content.ErrMismatchedDigest):
		return nil, refuse("what was delivered as %s is something else: it was changed on its way, or where it lies", desc.Digest)
	case errors.Is(err, content.ErrTrailingData):
		return nil, refuse("%s is larger than the %d bytes that its manifest says", desc.Digest, desc.Size)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", desc.Digest, err)
	}
	return b, nil
}

// mirrorPath is the OCI image layout of a repository in a mirror.
func mirrorPath(mirror string, r reference) string {
	// A host name has no underscore, so no two registries share a directory.
	return filepath.Join(mirror, strings.ReplaceAll(r.registry, ":", "_"), filepath.FromSlash(r.repository))
}

// openMirror opens the image layout of a repository; errdef.ErrNotFound says that there is none.
func openMirror(ctx context.Context, mirror string, r reference) (origin, error) {
	path := mirrorPath(mirror, r)
	if _, err := os.Stat(filepath.Join(path, ocispec.ImageLayoutFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("mirror %s has nothing of %s: %w", mirror, r.name(), errdef.ErrNotFound)
	}
	store, err := oci.NewFromFS(ctx, os.DirFS(path))
	if err != nil {
		return nil, refuse("mirror %s: the image layout of %s can't be read: %w", mirror, r.name(), err)
	}
	return store, nil
}
