package host

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/manifest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// PluginFile is a file, a directory or a socket of the machine that a plugin is given.
type PluginFile = manifest.File

// PluginPrivilege is something that only root may, and a plugin is given.
type PluginPrivilege = manifest.Privilege

// validateMachine says what is wrong with the files and privileges of a spec.
func (s *PluginSpec) validateMachine(at *field.Path) field.ErrorList {
	errs := manifest.ValidateFiles(s.Files, at.Child("files"))
	errs = append(errs, manifest.ValidatePrivileges(s.Privileges, at.Child("privileges"))...)
	if s.Source == nil {
		for name, set := range map[string]bool{"files": len(s.Files) > 0, "privileges": len(s.Privileges) > 0} {
			if set {
				errs = append(errs, field.Forbidden(at.Child(name), "is about a source, and there is none: the host's own plugins may what it may"))
			}
		}
	}
	return errs
}

// granting is the field of a spec by which somebody gives a plugin more than it had, empty
// where there is none. Who makes another program of a plugin gives that what it has.
func granting(r *resource.Request) string {
	differs := func(name string) bool {
		return mustJSON(lookup(r.Object, "spec", name)) != mustJSON(lookup(r.Old, "spec", name))
	}
	another := slices.ContainsFunc([]string{"source", "sha256", "allowUnsigned", "args", "env"}, differs)
	for _, name := range []string{"permissions", "files", "privileges"} {
		if lookup(r.Object, "spec", name) != nil && (another || differs(name)) {
			return name
		}
	}
	return ""
}

// pendingMachine are the files and privileges that a manifest asks for and the entry does not
// give, for people. What the entry gives counts, whether or not it is asked for: an author
// does not know where an operator keeps a credential.
func (s *Spec) pendingMachine(m *manifest.Manifest) []string {
	if m == nil || s.FirstParty() {
		return nil
	}
	var out []string
	for _, f := range m.Files {
		if !slices.ContainsFunc(s.Files, func(g PluginFile) bool { return g.Covers(f) }) {
			out = append(out, manifest.MachineText([]PluginFile{f}, nil))
		}
	}
	for _, p := range m.Privileges {
		if !slices.Contains(s.Privileges, p) {
			out = append(out, manifest.MachineText(nil, []PluginPrivilege{p}))
		}
	}
	return out
}

// give adds what the entry gives of the machine to what a guest has.
func (s *Spec) give(g *confine.Guest) {
	for _, f := range s.Files {
		g.Given = append(g.Given, confine.Given{Path: f.Path, Write: f.Writable()})
	}
	for _, p := range s.Privileges {
		switch p {
		case manifest.Root:
			g.Root = true
		case manifest.MountPropagation:
			g.Propagate = true
		default:
			g.Capabilities = append(g.Capabilities, string(p))
		}
	}
}

func fileTrees(files []PluginFile) []any {
	out := make([]any, 0, len(files))
	for _, f := range files {
		out = append(out, map[string]any{"path": f.Path, "readOnly": !f.Writable()})
	}
	return out
}

func privilegeTrees(privileges []PluginPrivilege) []any {
	out := make([]any, 0, len(privileges))
	for _, p := range privileges {
		out = append(out, string(p))
	}
	return out
}
