package catalogue

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pintle-dev/pintle/sdk/manifest"
)

// The media types of a plugin's artifact; docs/plugins/artifact.md is their description.
const (
	// ArtifactType of the manifest of one platform, and of the index of several.
	ArtifactType = "application/vnd.pintle.plugin.v1"
	// ConfigType is what tools read a platform from.
	ConfigType = "application/vnd.pintle.plugin.config.v1+json"
	// ManifestType is plugin.yaml.
	ManifestType = "application/vnd.pintle.plugin.manifest.v1+yaml"
	// BinaryType is the executable as it is, so that its layer's digest is its checksum.
	BinaryType = "application/vnd.pintle.plugin.binary.v1"
)

// The largest of each that is read. What is larger is refused before it is fetched.
const (
	maxDocument = 1 << 20
	maxPayload  = 64 << 10
	// MaxBinaryBytes is the size of the largest binary where the configuration says nothing.
	MaxBinaryBytes = 512 << 20
	// maxPlatforms in an index, and maxSignatures that are looked at.
	maxPlatforms  = 64
	maxSignatures = 32
)

// artifactConfig is the config blob. Its keys are those of an image's, by which registries and
// tools show a platform.
type artifactConfig struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	OS           string `json:"os,omitempty"`
	Architecture string `json:"architecture,omitempty"`
}

// blob is content with its descriptor.
type blob struct {
	desc    ocispec.Descriptor
	content []byte
}

func newBlob(mediaType string, b []byte) blob {
	return blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b}
}

// packed is the part of an artifact that is for one platform. The same files always make the
// same bytes, so that the signature of a directory is that of the artifact pushed from it.
type packed struct {
	platform string
	config   blob
	yaml     blob
	binary   ocispec.Descriptor
	manifest blob
}

// pack describes a plugin for one platform by an OCI manifest.
func pack(m *manifest.Manifest, yaml []byte, platform string, binary ocispec.Descriptor) (packed, error) {
	config := artifactConfig{Name: m.Name, Version: m.Version}
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	b, err := json.Marshal(config)
	if err != nil {
		return packed{}, fmt.Errorf("config of the artifact: %w", err)
	}
	p := packed{platform: platform, config: newBlob(ConfigType, b), yaml: newBlob(ManifestType, yaml), binary: binary}
	p.yaml.desc.Annotations = map[string]string{ocispec.AnnotationTitle: manifest.FileName}
	p.binary.MediaType = BinaryType
	p.binary.Annotations = map[string]string{ocispec.AnnotationTitle: binaryName(m)}
	b, err = json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Config: p.config.desc, Layers: []ocispec.Descriptor{p.yaml.desc, p.binary}, Annotations: annotations(m),
	})
	if err != nil {
		return packed{}, fmt.Errorf("manifest of the artifact: %w", err)
	}
	p.manifest = newBlob(ocispec.MediaTypeImageManifest, b)
	p.manifest.desc.ArtifactType = ArtifactType
	return p, nil
}

// packIndex describes a plugin for several platforms by an OCI index.
func packIndex(m *manifest.Manifest, parts []packed) (blob, error) {
	parts = append([]packed(nil), parts...)
	sort.Slice(parts, func(i, j int) bool { return parts[i].platform < parts[j].platform })
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: ArtifactType,
		Annotations: annotations(m),
	}
	for _, p := range parts {
		desc := p.manifest.desc
		if os, arch, ok := strings.Cut(p.platform, "/"); ok {
			desc.Platform = &ocispec.Platform{OS: os, Architecture: arch}
		}
		index.Manifests = append(index.Manifests, desc)
	}
	b, err := json.Marshal(index)
	if err != nil {
		return blob{}, fmt.Errorf("index of the artifact: %w", err)
	}
	out := newBlob(ocispec.MediaTypeImageIndex, b)
	out.desc.ArtifactType = ArtifactType
	return out, nil
}

func annotations(m *manifest.Manifest) map[string]string {
	a := map[string]string{ocispec.AnnotationTitle: m.Name, ocispec.AnnotationVersion: m.Version}
	if m.Description != "" {
		a[ocispec.AnnotationDescription] = m.Description
	}
	return a
}

func binaryName(m *manifest.Manifest) string {
	if m.Binary != "" {
		return m.Binary
	}
	return "plugin"
}

// document is an OCI manifest or index, whichever the bytes say they are: a descriptor made from
// a bare digest does not tell.
type document struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Annotations  map[string]string    `json:"annotations"`
}

func parseDocument(b []byte) (document, error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return d, refuse("not an OCI manifest: %w", err)
	}
	if (d.Config != nil || d.Layers != nil) == (d.Manifests != nil) {
		return d, refuse("not an OCI manifest: it needs either layers or manifests")
	}
	for _, desc := range append(append([]ocispec.Descriptor(nil), d.Layers...), d.Manifests...) {
		if err := desc.Digest.Validate(); err != nil || desc.Digest.Algorithm() != digest.SHA256 {
			return d, refuse("not an OCI manifest of sha256 digests: %q", desc.Digest)
		}
		if desc.Size < 0 {
			return d, refuse("not an OCI manifest: %s has a size of %d", desc.Digest, desc.Size)
		}
	}
	return d, nil
}

func (d document) isIndex() bool { return d.Manifests != nil }

// forPlatform finds the manifest of a platform in an index; the first where none is named.
func (d document) forPlatform(want string) (ocispec.Descriptor, error) {
	if len(d.Manifests) > maxPlatforms {
		return ocispec.Descriptor{}, refuse("its index lists %d manifests, at most %d are read", len(d.Manifests), maxPlatforms)
	}
	var have []string
	var fallback *ocispec.Descriptor
	for i, m := range d.Manifests {
		switch {
		case m.Platform == nil || want == "":
			if fallback == nil {
				fallback = &d.Manifests[i]
			}
		case m.Platform.OS+"/"+m.Platform.Architecture == want:
			return m, nil
		default:
			have = append(have, m.Platform.OS+"/"+m.Platform.Architecture)
		}
	}
	if fallback != nil {
		return *fallback, nil
	}
	return ocispec.Descriptor{}, refuse("it has nothing for %s, only for %s", want, strings.Join(have, ", "))
}

// layers finds plugin.yaml and the binary in the manifest of one platform.
func (d document) layers(maxBinary int64) (yaml, binary ocispec.Descriptor, err error) {
	kind := d.ArtifactType
	if kind == "" && d.Config != nil {
		kind = d.Config.MediaType
	}
	if kind != ArtifactType && kind != ConfigType {
		return yaml, binary, refuse("it is no plugin: its artifactType is %q, not %s", kind, ArtifactType)
	}
	found := map[string]int{}
	for _, l := range d.Layers {
		found[l.MediaType]++
		switch l.MediaType {
		case ManifestType:
			yaml = l
		case BinaryType:
			binary = l
		}
	}
	for _, t := range []string{ManifestType, BinaryType} {
		if found[t] != 1 {
			return yaml, binary, refuse("its manifest has %d layers of type %s, it must have one", found[t], t)
		}
	}
	if yaml.Size > manifest.MaxBytes {
		return yaml, binary, refuse("its %s has %d bytes, at most %d are read", manifest.FileName, yaml.Size, manifest.MaxBytes)
	}
	if binary.Size > maxBinary {
		return yaml, binary, refuse("its binary has %d bytes, at most %d are taken", binary.Size, maxBinary)
	}
	return yaml, binary, nil
}
