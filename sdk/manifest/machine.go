package manifest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// File is a file, a directory or a socket of the machine that a plugin sees at its own path. A
// plugin asks for it in its manifest, and has what the operator gives it in the plugin's entry.
type File struct {
	// Path is absolute, and the same for the machine and the plugin. What is replaced by
	// renaming, such as a secret that is rotated or a socket whose server restarts, is seen
	// where its directory is given.
	Path string `json:"path"`
	// ReadOnly is true where it is not set.
	ReadOnly *bool `json:"readOnly,omitempty"`
}

// Writable reports whether more than reading was asked for.
func (f File) Writable() bool { return f.ReadOnly != nil && !*f.ReadOnly }

// Covers reports whether who has f has o too: f is the same, or a directory above it.
func (f File) Covers(o File) bool {
	if o.Writable() && !f.Writable() {
		return false
	}
	return f.Path == o.Path || strings.HasPrefix(o.Path, strings.TrimSuffix(f.Path, "/")+"/")
}

// String is the file for people.
func (f File) String() string {
	if f.Writable() {
		return f.Path + " (read and write)"
	}
	return f.Path
}

// Privilege is something that only root may, and that a plugin on a node may need. Nothing of
// it is given unless the plugin's entry says so.
type Privilege string

// The privileges. Those that are named as capabilities of Linux are these, see capabilities(7).
const (
	// Root makes it run as the machine's root, which owns what is on it, and not as a user of
	// its own. It has none of root's capabilities but those that are named beside.
	Root Privilege = "Root"
	// MountPropagation makes what it mounts below the directories that it may write to
	// appear on the machine, and what the machine mounts there for it.
	MountPropagation Privilege = "MountPropagation"

	SysAdmin       Privilege = "SYS_ADMIN" // mounts and namespaces
	NetAdmin       Privilege = "NET_ADMIN"
	NetRaw         Privilege = "NET_RAW"
	NetBindService Privilege = "NET_BIND_SERVICE"
	Chown          Privilege = "CHOWN"
	Fowner         Privilege = "FOWNER"
	DACOverride    Privilege = "DAC_OVERRIDE"
	IPCLock        Privilege = "IPC_LOCK"
	BPF            Privilege = "BPF"
)

// Privileges are all there are.
func Privileges() []Privilege {
	return []Privilege{Root, MountPropagation, SysAdmin, NetAdmin, NetRaw, NetBindService, Chown, Fowner, DACOverride, IPCLock, BPF}
}

// maxFiles of one plugin.
const maxFiles = 64

// ValidateFiles says what is wrong with a list of files that stands at a path.
func ValidateFiles(files []File, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(files) > maxFiles {
		errs = append(errs, field.TooMany(at, len(files), maxFiles))
	}
	var seen []string
	for i, f := range files {
		path := at.Index(i).Child("path")
		switch {
		case !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path:
			errs = append(errs, field.Invalid(path, f.Path, "must be an absolute path on the plugin's machine, without . and .. in it"))
		case f.Path == "/":
			errs = append(errs, field.Invalid(path, f.Path, "is all there is; name what is needed"))
		case f.Path == "/proc" || strings.HasPrefix(f.Path, "/proc/"):
			errs = append(errs, field.Invalid(path, f.Path, "is other for each process and can't be given"))
		case slices.Contains(seen, f.Path):
			errs = append(errs, field.Duplicate(path, f.Path))
		}
		seen = append(seen, f.Path)
	}
	return errs
}

// ValidatePrivileges says what is wrong with a list of privileges that stands at a path.
func ValidatePrivileges(privileges []Privilege, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range privileges {
		switch {
		case !slices.Contains(Privileges(), p):
			errs = append(errs, field.NotSupported(at.Index(i), p, Privileges()))
		case slices.Contains(privileges[:i], p):
			errs = append(errs, field.Duplicate(at.Index(i), p))
		}
	}
	return errs
}

// MachineText says on one line what of a machine is asked for or given.
func MachineText(files []File, privileges []Privilege) string {
	var parts []string
	for _, f := range files {
		parts = append(parts, "file "+f.String())
	}
	for _, p := range privileges {
		parts = append(parts, fmt.Sprintf("privilege %s", p))
	}
	return strings.Join(parts, "; ")
}
