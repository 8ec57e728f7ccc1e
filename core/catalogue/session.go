package catalogue

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
)

// session is a registry's repository for the time of one fetch. What the cache has is not asked
// for again, and where the registry does not answer, what it has said before counts.
type session struct {
	origin origin
	cache  *cache
	known  memory
	fresh  memory
	blobs  []digest.Digest
	log    *slog.Logger
	// away is the first error that says that the registry does not answer.
	away error
}

func newSession(o origin, c *cache, repository string, log *slog.Logger) *session {
	return &session{
		origin: o, cache: c, known: c.recall(repository), log: log,
		fresh: memory{
			Repository: repository, Resolved: map[string]ocispec.Descriptor{},
			Referrers: map[digest.Digest][]ocispec.Descriptor{},
		},
	}
}

// Resolve implements origin.
func (s *session) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	if d := digest.Digest(reference); d.Validate() == nil {
		// A digest can't come to stand for something else.
		if b, ok := s.cache.blob(ocispec.Descriptor{Digest: d}); ok {
			return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: int64(len(b))}, nil
		}
	}
	desc, err := s.ask(ctx, func() (ocispec.Descriptor, error) { return s.origin.Resolve(ctx, reference) },
		func() (ocispec.Descriptor, bool) {
			kept, ok := s.known.Resolved[reference]
			return kept, ok
		})
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		// That it is not there is an answer as well: there is no signature.
		s.fresh.Resolved[reference] = ocispec.Descriptor{}
	case err == nil && desc.Digest == "":
		return desc, errdef.ErrNotFound
	case err == nil && s.away == nil:
		s.fresh.Resolved[reference] = desc
	}
	return desc, err
}

// ask puts a question to the registry, and where that does not answer to the memory.
func (s *session) ask(ctx context.Context, question func() (ocispec.Descriptor, error), remembered func() (ocispec.Descriptor, bool)) (ocispec.Descriptor, error) {
	if s.away == nil {
		desc, err := question()
		if err == nil || !transient(ctx, err) {
			return desc, err
		}
		s.away = err
	}
	if desc, ok := remembered(); ok {
		return desc, nil
	}
	return ocispec.Descriptor{}, s.away
}

// Tags implements origin.
func (s *session) Tags(ctx context.Context, last string, fn func([]string) error) error {
	var tags []string
	_, err := s.ask(ctx, func() (ocispec.Descriptor, error) {
		err := s.origin.Tags(ctx, last, func(page []string) error {
			if tags = append(tags, page...); len(tags) > maxTags {
				return refuse("the repository has more than %d tags: name one", maxTags)
			}
			return nil
		})
		return ocispec.Descriptor{}, err
	}, func() (ocispec.Descriptor, bool) {
		tags = s.known.Tags
		return ocispec.Descriptor{}, tags != nil
	})
	if err != nil {
		return err
	}
	if s.away == nil {
		s.fresh.Tags = tags
	}
	return fn(tags)
}

// maxTags of a repository that are read.
const maxTags = 100_000

// Predecessors implements origin.
func (s *session) Predecessors(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	_, err := s.ask(ctx, func() (ocispec.Descriptor, error) {
		var err error
		found, err = s.origin.Predecessors(ctx, desc)
		return ocispec.Descriptor{}, err
	}, func() (ocispec.Descriptor, bool) {
		var ok bool
		found, ok = s.known.Referrers[desc.Digest]
		return ocispec.Descriptor{}, ok
	})
	if err == nil && s.away == nil {
		s.fresh.Referrers[desc.Digest] = found
	}
	return found, err
}

// Fetch implements origin. Small contents come from the cache where it has them.
func (s *session) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if desc.Size > maxDocument {
		return s.origin.Fetch(ctx, desc)
	}
	b, ok := s.cache.blob(desc)
	if !ok {
		var err error
		if b, err = readSmall(ctx, s.origin, desc, maxDocument); err != nil {
			return nil, err
		}
		if err := s.cache.putBlob(desc, b); err != nil {
			return nil, err
		}
	}
	s.blobs = append(s.blobs, desc.Digest)
	return io.NopCloser(newReader(b)), nil
}

// keep writes down what was learnt. There is nothing to learn from silence.
func (s *session) keep(ctx context.Context) error {
	if s.away == nil {
		return s.cache.learn(ctx, s.fresh)
	}
	if wanted := (*offlineError)(nil); !errors.As(s.away, &wanted) {
		s.log.Warn("the registry of a plugin does not answer; what it said before is used",
			"repository", s.known.Repository, "since", s.known.Asked, "error", s.away)
	}
	return nil
}
