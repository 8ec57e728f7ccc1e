package catalogue

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	"oras.land/oras-go/v2/registry"
)

// reference is where an artifact is: REGISTRY/REPOSITORY, with a tag, a digest, both, or neither.
type reference struct {
	registry   string
	repository string
	tag        string
	digest     string
}

// ParseReference checks a reference to an artifact, such as
// "registry.example.com/plugins/widget:1.2.0", and returns its parts. The tag is empty beside a
// digest, which says more.
func ParseReference(s string) (host, repository, tagOrDigest string, err error) {
	r, err := parseReference(s)
	if err != nil {
		return "", "", "", err
	}
	return r.registry, r.repository, r.exact(), nil
}

func parseReference(s string) (reference, error) {
	text := strings.TrimPrefix(s, "oci://")
	ref, err := registry.ParseReference(text)
	if err != nil {
		return reference{}, refuse("reference %q: must be REGISTRY/REPOSITORY[:TAG][@DIGEST], such as registry.example.com/plugins/widget:1.2.0: %w", s, err)
	}
	r := reference{registry: ref.Registry, repository: ref.Repository}
	name, rest, pinned := strings.Cut(text, "@")
	if pinned {
		if _, err := ref.Digest(); err != nil {
			return reference{}, refuse("reference %q: %q is not a digest such as sha256:…", s, rest)
		}
		r.digest = ref.Reference
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			r.tag = name[i+1:]
		}
		return r, nil
	}
	r.tag = ref.Reference
	return r, nil
}

// name is the reference without tag and digest.
func (r reference) name() string { return r.registry + "/" + r.repository }

// exact is the digest, or else the tag.
func (r reference) exact() string {
	if r.digest != "" {
		return r.digest
	}
	return r.tag
}

// tagVersion reads a version from a tag. "+" can't stand in a tag, so "_" stands for it, as Helm
// has it.
func tagVersion(tag string) (*semver.Version, bool) {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.Replace(tag, "_", "+", 1), "v"))
	return v, err == nil
}

// VersionTag is the tag under which a version is published.
func VersionTag(version string) string { return strings.Replace(version, "+", "_", 1) }

// parseConstraint reads a constraint on versions; the empty one lets all but pre-releases through.
func parseConstraint(s string) (*semver.Constraints, error) {
	if s == "" {
		s = "*"
	}
	c, err := semver.NewConstraint(s)
	if err != nil {
		return nil, refuse("version: %q is not a constraint such as \">=1.2, <2\": %w", s, err)
	}
	return c, nil
}

// newest picks the newest of names that are versions and fit. Where none fits, the error says
// what there is.
func newest(names []string, constraint string) (string, error) {
	c, err := parseConstraint(constraint)
	if err != nil {
		return "", err
	}
	var best *semver.Version
	var bestName string
	var others []string
	for _, name := range names {
		v, ok := tagVersion(name)
		if !ok {
			continue
		}
		if !c.Check(v) {
			others = append(others, name)
			continue
		}
		if best == nil || v.GreaterThan(best) {
			best, bestName = v, name
		}
	}
	if best != nil {
		return bestName, nil
	}
	switch {
	case len(others) == 0:
		return "", &noVersion{"there is no version of it"}
	case constraint == "":
		return "", &noVersion{fmt.Sprintf("there are only pre-releases of it (%s): name one as version", shorten(others))}
	default:
		return "", &noVersion{fmt.Sprintf("no version fits %q; there are %s", constraint, shorten(others))}
	}
}

// noVersion says that none fits. The next place that is asked may have one.
type noVersion struct{ text string }

func (e *noVersion) Error() string { return e.text }

func shorten(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[len(names)-most:], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
