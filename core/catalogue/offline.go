package catalogue

import (
	"context"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// offline is a registry that may not be asked: what the cache remembers still counts.
type offline struct{ mirror string }

func (o offline) err() error {
	if o.mirror != "" {
		return &offlineError{fmt.Sprintf("it is not in the mirror %s, and no registry is asked (pluginTrust.offline)", o.mirror)}
	}
	return &offlineError{"no registry is asked (pluginTrust.offline), and there is no mirror (pluginTrust.mirror)"}
}

// offlineError is what was wanted, and not what went wrong.
type offlineError struct{ text string }

func (e *offlineError) Error() string { return e.text }

// Resolve implements origin.
func (o offline) Resolve(context.Context, string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, o.err()
}

// Fetch implements origin.
func (o offline) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return nil, o.err()
}

// Tags implements origin.
func (o offline) Tags(context.Context, string, func([]string) error) error { return o.err() }

// Predecessors implements origin.
func (o offline) Predecessors(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return nil, o.err()
}
