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

	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/sdk/manifest"
)

// findFile describes a bare binary. Its checksum is the operator's word for it.
func (c *Catalogue) findFile(_ context.Context, s host.Source) (*found, func(), error) {
	f, desc, err := describeFile(s.Path, c.config.MaxBinary)
	if err != nil {
		return nil, nil, err
	}
	return &found{
		top: desc, desc: desc, binary: desc, anyFile: true,
		open: again(f), done: func(context.Context) (held, error) { return held{}, nil },
	}, func() { _ = f.Close() }, nil
}

// describeFile opens a binary and hashes it. The file stays open, so that what is copied is what
// was hashed, whatever happens to its name.
func describeFile(path string, limit int64) (*os.File, ocispec.Descriptor, error) {
	f, err := openRegular(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ocispec.Descriptor{}, refuse("there is no binary at %s", path)
	}
	if err != nil {
		return nil, ocispec.Descriptor{}, fmt.Errorf("binary: %w", err)
	}
	desc, err := describe(f, limit)
	if err != nil {
		_ = f.Close()
		return nil, ocispec.Descriptor{}, fmt.Errorf("binary %s: %w", path, err)
	}
	return f, desc, nil
}

func describe(f *os.File, limit int64) (ocispec.Descriptor, error) {
	st, err := f.Stat()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if st.Size() > limit {
		return ocispec.Descriptor{}, refuse("it has %d bytes, at most %d are taken", st.Size(), limit)
	}
	got, err := hashOf(io.LimitReader(f, st.Size()))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if end, err := f.Seek(0, io.SeekCurrent); err != nil || end != st.Size() {
		return ocispec.Descriptor{}, errChanged
	}
	return ocispec.Descriptor{MediaType: BinaryType, Digest: got, Size: st.Size()}, nil
}

// again reads an open file from its beginning.
func again(f *os.File) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return io.NopCloser(f), nil
	}
}

// findDirectory describes the plugin in a directory, as if it had been pushed from there.
func (c *Catalogue) findDirectory(_ context.Context, s host.Source) (*found, func(), error) {
	dir, err := versionDirectory(s.Directory, s.Version)
	if err != nil {
		return nil, nil, err
	}
	m, text, err := readManifest(dir)
	if err != nil {
		return nil, nil, err
	}
	tag := ""
	if dir != s.Directory {
		tag = filepath.Base(dir)
	}
	if err := checkVersion(m, s.Version, tag); err != nil {
		return nil, nil, err
	}
	path, err := binaryFor(dir, m, c.config.Platform)
	if err != nil {
		return nil, nil, err
	}
	file, desc, err := describeFile(path, c.config.MaxBinary)
	if err != nil {
		return nil, nil, err
	}
	platform, err := detectPlatform(file)
	if err != nil {
		_ = file.Close()
		return nil, nil, refuse("%s %w", path, err)
	}
	p, err := pack(m, text, platform, desc)
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return &found{
		manifest: m, top: p.manifest.desc, desc: p.manifest.desc, binary: desc, tag: tag,
		signatures: func(context.Context) ([]signature, error) { return readSignatureFile(dir) },
		open:       again(file), done: func(context.Context) (held, error) { return held{}, nil },
	}, func() { _ = file.Close() }, nil
}

// versionDirectory is dir where it holds a plugin, or the newest of its directories that are
// named like versions and fit.
func versionDirectory(dir, constraint string) (string, error) {
	_, err := os.Stat(filepath.Join(dir, manifest.FileName))
	if err == nil {
		return dir, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", refuse("there is no directory %s", dir)
	}
	if err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), manifest.FileName)); err == nil {
			names = append(names, e.Name())
		}
	}
	name, err := newest(names, constraint)
	if err != nil {
		return "", refuse("directory %s holds no %s, and of the versions below it: %w", dir, manifest.FileName, err)
	}
	return filepath.Join(dir, name), nil
}

// readManifest reads the plugin.yaml of a directory.
func readManifest(dir string) (*manifest.Manifest, []byte, error) {
	f, err := openRegular(filepath.Join(dir, manifest.FileName), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, refuse("directory %s holds no %s", dir, manifest.FileName)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("directory: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, manifest.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("directory: %w", err)
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil, nil, refuse("directory %s: %w", dir, err)
	}
	return m, text, nil
}

// platformSuffix is how the binary of a platform is named beside that of others.
func platformSuffix(platform string) string { return "-" + strings.ReplaceAll(platform, "/", "-") }

// binaryFor is the binary of a directory for a platform: NAME-OS-ARCH, or else NAME.
func binaryFor(dir string, m *manifest.Manifest, platform string) (string, error) {
	name := filepath.Join(dir, binaryName(m))
	for _, path := range []string{name + platformSuffix(platform), name} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("directory: %w", err)
		}
	}
	return "", refuse("directory %s has no binary %s, nor %s", dir, binaryName(m), binaryName(m)+platformSuffix(platform))
}
