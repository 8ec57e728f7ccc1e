package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// Source says where the files of a plugin come from. One of Path, Directory and OCI is set.
type Source struct {
	// Path is the absolute path of a binary on the host's machine.
	Path string
	// Directory is the absolute path of a directory that holds a plugin.yaml and its binary.
	Directory string
	// OCI is a reference to an artifact, such as "registry.example.com/plugins/widget:1.2.0".
	// Without a tag or digest, Version decides.
	OCI string
	// Version is a constraint on the version, such as ">=1.2, <2"; empty for any.
	Version string
	// SHA256 of the binary in hexadecimal; empty where it is not pinned.
	SHA256 string
	// AllowUnsigned accepts a plugin without a valid signature.
	AllowUnsigned bool
}

// String names the source for people.
func (s Source) String() string {
	switch {
	case s.OCI != "":
		return s.OCI
	case s.Directory != "":
		return s.Directory
	default:
		return s.Path
	}
}

// Artifact is a plugin whose files are on this machine and were verified.
type Artifact struct {
	// Path of the binary. It keeps its content: what is fetched later lies elsewhere.
	Path string
	// SHA256 of the binary in hexadecimal.
	SHA256 string
	// Digest of the artifact that it came in, such as "sha256:…"; empty for files.
	Digest string
	// Version that the manifest says; empty without one.
	Version string
	// SignedBy names the key that signed it; empty where it is not signed.
	SignedBy string
	// Manifest is nil for a bare path.
	Manifest *manifest.Manifest
}

// Fetcher gets a plugin's files onto this machine. A file at a bare path is not copied.
type Fetcher interface {
	Fetch(ctx context.Context, s Source) (Artifact, error)
}

// fetchError is Refused where the fetcher says that trying again would not help: its error
// then has a method Refused that returns true.
func fetchError(err error) error {
	var r interface{ Refused() bool }
	if errors.As(err, &r) && r.Refused() {
		return refuse("source: %w", err)
	}
	return fmt.Errorf("source: %w", err)
}

// or completes limits by those that a plugin's manifest names.
func (l Limits) or(r manifest.Resources) Limits {
	if l.MemoryBytes == 0 && r.Memory != nil {
		l.MemoryBytes = r.Memory.Value()
	}
	if l.MilliCPU == 0 && r.CPU != nil {
		l.MilliCPU = r.CPU.MilliValue()
	}
	if l.Processes == 0 && r.Processes != nil {
		l.Processes = *r.Processes
	}
	if l.DiskBytes == 0 && r.Disk != nil {
		l.DiskBytes = r.Disk.Value()
	}
	return l
}

// pathFetcher is the Fetcher of a host that was given none: it knows bare paths only.
type pathFetcher struct{}

// Fetch implements Fetcher.
func (pathFetcher) Fetch(_ context.Context, s Source) (Artifact, error) {
	switch {
	case s.OCI != "" || s.Directory != "":
		return Artifact{}, fmt.Errorf("source %s: this host takes binaries by path only", s)
	case s.Path == "":
		return Artifact{}, errors.New("source: is empty")
	case s.SHA256 == "":
		return Artifact{}, fmt.Errorf("sha256: the checksum of a third-party binary is required (sha256sum %s)", s.Path)
	}
	return Artifact{Path: s.Path, SHA256: s.SHA256}, nil
}
