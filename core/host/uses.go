package host

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// usesOf are the points of other plugins that a plugin may call, of those that its manifest
// asks for, and those of them that nobody has granted.
func (s *Spec) usesOf(m *manifest.Manifest) (granted, pending []protocol.Point) {
	if s.FirstParty() || m == nil {
		return s.Uses, nil
	}
	for _, name := range m.Uses {
		if p := protocol.Point(name); s.Grant || slices.Contains(s.Uses, p) {
			granted = append(granted, p)
		} else {
			pending = append(pending, p)
		}
	}
	return granted, pending
}

// usesAsNow reports whether a process that runs for an instance can call what another entry
// lets it: the way to other plugins is given to it when it starts.
func (i *instance) usesAsNow(s *Spec) bool {
	granted, _ := s.usesOf(i.artifact.Manifest)
	return slices.Equal(granted, i.spec.Uses)
}

// validateUses says what is wrong with the points that a spec grants.
func (p *PluginPermissions) validateUses(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Grant == GrantRequested && len(p.Uses) > 0 {
		errs = append(errs, field.Forbidden(at, "with grant Requested everything that is asked for is granted: remove the points, or set grant to Listed"))
	}
	for i, name := range p.Uses {
		for _, msg := range validation.IsDNS1123Label(string(name)) {
			errs = append(errs, field.Invalid(at.Index(i), name, msg))
		}
	}
	return errs
}

// usesText says of points that they are not granted.
func usesText(points []protocol.Point, name string) string {
	return fmt.Sprintf("not granted: to call points %v of other plugins (`pintle plugin grant %s` grants it)", points, name)
}

func pointNames(points []protocol.Point) []string {
	out := make([]string, 0, len(points))
	for _, p := range points {
		out = append(out, string(p))
	}
	return out
}
