package catalogue

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

// Config of a catalogue. Only Dir is required.
type Config struct {
	// Dir is the cache's, absolute, and nobody else's to write to. Plugins that run as users
	// of their own must be able to reach it.
	Dir string
	// Keys whose signatures are trusted.
	Keys []Key
	// Access to registries.
	Access Access
	// Mirror is a directory of OCI image layouts, made by [Mirror], that is asked before any
	// registry; empty for none.
	Mirror string
	// Offline asks no registry at all.
	Offline bool
	// CacheBytes and CacheAge bound what is kept of what is no longer used: 2 GiB and 30 days
	// where zero.
	CacheBytes int64
	CacheAge   time.Duration
	// MaxBinary is the size in bytes of the largest binary that is taken; MaxBinaryBytes where
	// zero.
	MaxBinary int64
	// InUse lists the SHA-256 sums (hexadecimal) of binaries that run or that a rollback would
	// run: they are kept whatever their age. Without it all that this process has fetched is.
	InUse func() []string
	// Platform as "os/architecture"; that of this process where empty.
	Platform string
	// Timeout bounds one fetch. 15 minutes where zero.
	Timeout time.Duration
	Logger  *slog.Logger
}

// Catalogue gets plugins onto this machine. It implements host.Fetcher, and may be used by many
// at once.
type Catalogue struct {
	config Config
	keys   []trustedKey
	cache  *cache

	mu      sync.Mutex
	fetched map[digest.Digest]bool
}

var _ host.Fetcher = (*Catalogue)(nil)

// New checks a configuration. It reads and writes nothing.
func New(c Config) (*Catalogue, error) {
	if !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("catalogue of plugins: dir %q: an absolute path is needed", c.Dir)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Platform == "" {
		c.Platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 2 << 30
	}
	if c.CacheAge <= 0 {
		c.CacheAge = 30 * 24 * time.Hour
	}
	if c.MaxBinary <= 0 {
		c.MaxBinary = MaxBinaryBytes
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Minute
	}
	keys, err := parseKeys(c.Keys)
	if err != nil {
		return nil, err
	}
	return &Catalogue{config: c, keys: keys, cache: &cache{dir: c.Dir}, fetched: map[digest.Digest]bool{}}, nil
}

// Inspection is what there is to know of a plugin before it is run.
type Inspection struct {
	host.Artifact
	// Size of the binary in bytes.
	Size int64
	// Tag that was chosen, or named; empty for files.
	Tag string
	// Problem says why the plugin must not be run: its signature, or that it has none. Nil where
	// it may.
	Problem error
	// fresh says that the binary was not in the cache.
	fresh bool
}

// Fetch implements host.Fetcher. The binary's path is in the cache and was verified just now;
// IsRefused tells errors that stay from those worth another try.
func (c *Catalogue) Fetch(ctx context.Context, s host.Source) (host.Artifact, error) {
	i, err := c.get(ctx, s, true)
	return i.Artifact, err
}

// Inspect is Fetch for those who want to look: what is wrong with the signature is in the
// answer, and no error.
func (c *Catalogue) Inspect(ctx context.Context, s host.Source) (Inspection, error) {
	return c.get(ctx, s, false)
}

// found is a plugin at its source, of which all but the binary has been read.
type found struct {
	// manifest, as it is and as its text, and desc (of the artifact for one platform); top is what the reference names,
	// which is an index or the same.
	manifest  *manifest.Manifest
	text      []byte
	top, desc ocispec.Descriptor
	binary    ocispec.Descriptor
	tag       string
	// signatures that are there, none of which has been looked at.
	signatures func(ctx context.Context) ([]signature, error)
	open       func(ctx context.Context) (io.ReadCloser, error)
	// anyFile is for binaries that bring no manifest: what they run on is not looked at.
	anyFile bool
	// done is called when everything is in order.
	done func(ctx context.Context) (held, error)
}

func (c *Catalogue) get(ctx context.Context, s host.Source, strict bool) (Inspection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, fmt.Errorf("it took longer than %s", c.config.Timeout))
	defer cancel()
	if err := checkSource(s); err != nil {
		return Inspection{}, err
	}
	release, err := c.cache.hold()
	if err != nil {
		return Inspection{}, err
	}
	i, err := c.held(ctx, s, strict)
	release()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return i, fmt.Errorf("%s: %w", s, err)
	}
	// A cache only grows by what is new. So a host that starts, and has not yet read what it
	// could roll back to, removes nothing.
	if i.fresh {
		c.prune()
	}
	return i, nil
}

// held gets a plugin while nothing can be removed from the cache.
func (c *Catalogue) held(ctx context.Context, s host.Source, strict bool) (Inspection, error) {
	f, closeSource, err := c.find(ctx, s)
	if err != nil {
		return Inspection{}, err
	}
	defer closeSource()
	i := Inspection{Tag: f.tag, Size: f.binary.Size}
	i.SHA256, i.Manifest = f.binary.Digest.Encoded(), f.manifest
	if f.manifest != nil {
		i.Version, i.Digest = f.manifest.Version, f.top.Digest.String()
	}
	if s.SHA256 != "" && !strings.EqualFold(s.SHA256, i.SHA256) {
		return i, refuse("wrong checksum of its binary: expected sha256 %s, actual %s; it is not run", strings.ToLower(s.SHA256), i.SHA256)
	}
	if i.SignedBy, i.Problem, err = c.trust(ctx, f, s.AllowUnsigned); err != nil {
		return i, err
	}
	if i.Problem != nil && strict {
		return i, i.Problem
	}
	path, fresh, err := c.cache.binary(ctx, f.binary, f.open)
	if err != nil {
		return i, err
	}
	i.fresh = fresh
	if err := c.runsHere(path, f); err != nil {
		return i, err
	}
	h, err := f.done(ctx)
	if err != nil {
		return i, err
	}
	h.Binary, h.Size = f.binary.Digest, f.binary.Size
	if err := c.cache.remember(f.desc.Digest, h); err != nil {
		return i, err
	}
	c.mu.Lock()
	c.fetched[f.binary.Digest] = true
	c.mu.Unlock()
	i.Path = path
	return i, nil
}

func (c *Catalogue) runsHere(path string, f *found) error {
	if f.anyFile {
		return nil
	}
	file, err := openRegular(path, 0)
	if err != nil {
		return fmt.Errorf("cache of plugins: %w", err)
	}
	defer file.Close()
	platform, err := detectPlatform(file)
	if err != nil {
		return refuse("its binary %w", err)
	}
	if !runsOn(platform, c.config.Platform) {
		return refuse("its binary is for %s, this machine is %s", platformName(platform), c.config.Platform)
	}
	return nil
}

// find looks a plugin up. The source is closed when its binary has been read.
func (c *Catalogue) find(ctx context.Context, s host.Source) (*found, func(), error) {
	switch {
	case s.OCI != "":
		return c.findArtifact(ctx, s)
	case s.Directory != "":
		return c.findDirectory(ctx, s)
	default:
		return c.findFile(ctx, s)
	}
}

func checkSource(s host.Source) error {
	set := 0
	for _, v := range []string{s.Path, s.Directory, s.OCI} {
		if v != "" {
			set++
		}
	}
	if set != 1 {
		return refuse("source: exactly one of path, directory and oci is needed")
	}
	for field, v := range map[string]string{"path": s.Path, "directory": s.Directory} {
		if v != "" && !filepath.IsAbs(v) {
			return refuse("source.%s: %q is not an absolute path", field, v)
		}
	}
	if s.SHA256 != "" {
		if b, err := hex.DecodeString(s.SHA256); err != nil || len(b) != 32 {
			return refuse("sha256: %q is not a SHA-256 sum of 64 hexadecimal digits", s.SHA256)
		}
	}
	if s.Path != "" && s.SHA256 == "" {
		return refuse("sha256: the checksum of a binary at a path is required (sha256sum %s)", s.Path)
	}
	if s.Path != "" && s.Version != "" {
		return refuse("version: a binary at a path has no versions; use directory or oci")
	}
	_, err := parseConstraint(s.Version)
	return err
}

// checkVersion holds a manifest's version to the constraint of the source and to the tag it came
// by: a registry that offers an old version by a new name is not believed.
func checkVersion(m *manifest.Manifest, constraint, tag string) error {
	c, err := parseConstraint(constraint)
	if err != nil {
		return err
	}
	if v, ok := tagVersion(m.Version); constraint != "" && (!ok || !c.Check(v)) {
		return refuse("its version %s does not fit %q", m.Version, constraint)
	}
	if v, ok := tagVersion(tag); ok && v.String() != m.Version {
		return refuse("its tag is %s, but its %s says version %s", tag, manifest.FileName, m.Version)
	}
	return nil
}

// prune keeps the cache within its bounds.
func (c *Catalogue) prune() {
	l := limits{bytes: c.config.CacheBytes, age: c.config.CacheAge, now: time.Now(), inUse: map[digest.Digest]bool{}}
	if c.config.InUse == nil {
		c.mu.Lock()
		for d := range c.fetched {
			l.inUse[d] = true
		}
		c.mu.Unlock()
	} else {
		for _, sum := range c.config.InUse() {
			l.inUse[digestOf(strings.ToLower(sum))] = true
		}
	}
	removed, err := c.cache.prune(l)
	if err != nil {
		c.config.Logger.Warn("the cache of plugins can't be tidied up", "error", err)
	}
	if removed > 0 {
		c.config.Logger.Debug("removed plugins that nobody uses from the cache", "artifacts", removed)
	}
}
