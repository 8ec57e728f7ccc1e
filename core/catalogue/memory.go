package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// held is what the cache has of one artifact. Its file's time is when it was last used.
type held struct {
	// Repository that it came from; empty for files.
	Repository string `json:"repository,omitempty"`
	// Binary that it runs.
	Binary digest.Digest `json:"binary"`
	// Size of the binary in bytes.
	Size int64 `json:"size"`
	// Blobs that are needed to find and check it again.
	Blobs []digest.Digest `json:"blobs,omitempty"`
}

// memory is what a repository's registry has said. It is asked where the registry is silent, so
// that a server can start its plugins while the registry is away.
type memory struct {
	Repository string `json:"repository"`
	// Resolved has the descriptors of tags, among them those of signatures; an empty one says
	// that there was none.
	Resolved map[string]ocispec.Descriptor `json:"resolved,omitempty"`
	// Tags that it listed.
	Tags []string `json:"tags,omitempty"`
	// Referrers by the digest that they refer to.
	Referrers map[digest.Digest][]ocispec.Descriptor `json:"referrers,omitempty"`
	// Asked is when it last answered.
	Asked time.Time `json:"asked"`
}

func (c *cache) artifactPath(d digest.Digest) string {
	return filepath.Join(c.dir, "artifacts", d.Encoded()+".json")
}

func (c *cache) memoryPath(repository string) string {
	return filepath.Join(c.dir, "repositories", digest.FromString(repository).Encoded()+".json")
}

// remember keeps what is known of an artifact.
func (c *cache) remember(key digest.Digest, h held) error {
	return c.writeJSON(c.artifactPath(key), h)
}

// recall returns what a repository's registry has said before; empty where nothing is known.
func (c *cache) recall(repository string) memory {
	m := memory{Repository: repository}
	b, err := os.ReadFile(c.memoryPath(repository))
	if err == nil {
		var kept memory
		if json.Unmarshal(b, &kept) == nil && kept.Repository == repository {
			m = kept
		}
	}
	return m
}

// learn adds to what is remembered of a repository.
func (c *cache) learn(ctx context.Context, fresh memory) error {
	unlock, err := c.locks.lock(ctx, "repository "+fresh.Repository)
	if err != nil {
		return err
	}
	defer unlock()
	m := c.recall(fresh.Repository)
	if m.Resolved == nil {
		m.Resolved = map[string]ocispec.Descriptor{}
	}
	if m.Referrers == nil {
		m.Referrers = map[digest.Digest][]ocispec.Descriptor{}
	}
	for k, v := range fresh.Resolved {
		m.Resolved[k] = v
	}
	for k, v := range fresh.Referrers {
		m.Referrers[k] = v
	}
	if fresh.Tags != nil {
		m.Tags = fresh.Tags
	}
	m.Asked = time.Now().UTC()
	return c.writeJSON(c.memoryPath(fresh.Repository), m)
}

func (c *cache) writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	return c.write(path, 0o644, ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, newReader(b))
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// ignoreMissing drops the error of a file that is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
