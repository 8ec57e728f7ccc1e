package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

//go:embed all:projects
var projects embed.FS

//go:embed commands.md
var commands string

const (
	root       = "projects"
	common     = "common"
	sdkModule  = "github.com/pintle-dev/pintle"
	importRoot = sdkModule + "/cmd/pintle/internal/scaffold/projects/"
)

// Kind is a kind of project.
type Kind struct {
	Name, Description string
}

// Kinds lists the kinds of projects.
func Kinds() []Kind {
	return []Kind{
		{"resource", "a resource type of its own and the controller that acts on it"},
		{"controller", "a controller of types that are there already"},
		{"admission", "changes or refuses writes of any type"},
		{"scheduler-score", "a part in scheduling: which node is best for a pod"},
		{"scheduler", "a whole scheduler, for the pods that ask for it"},
		{"cloud", "a cloud provider: machines, load balancers, routes"},
		{"authentication", "tells who sends a bearer token"},
		{"authorization", "decides who may do what, beside RBAC"},
		{"network", "connects the pods of a node"},
		{"storage", "makes volumes, and brings them to pods"},
		{"runtimedriver", "runs the containers of a node"},
		{"apiservice", "serves a version of an API group itself, from what is stored nowhere"},
		{"kms", "a key manager for encryption at rest"},
	}
}

// KindNames lists their names.
func KindNames() []string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// Options say what is written.
type Options struct {
	// Name of the plugin, a DNS label that begins with a letter.
	Name string
	// Kind is one of Kinds.
	Kind string
	// Group is the API group of its types, such as "example.dev", which where it has none
	// comes before its labels. "example.dev" where empty.
	Group string
	// Module is the Go module's path; GROUP/NAME where empty.
	Module string
	// SDK is the directory of a checkout of Pintle, by which go.mod replaces the SDK.
	// Without it, SDKVersion is required.
	SDK string
	// SDKVersion of the SDK, such as "v1.2.0".
	SDKVersion string
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func (o *Options) complete() error {
	if len(o.Name) > 50 || !namePattern.MatchString(o.Name) {
		return fmt.Errorf("name %q: lower-case letters, digits and single hyphens are allowed, a letter first, at most 50 in all", o.Name)
	}
	if o.Group == "" {
		o.Group = "example.dev"
	}
	if msgs := validation.IsDNS1123Subdomain(o.Group); len(msgs) > 0 || !strings.Contains(o.Group, ".") {
		return fmt.Errorf("group %q: must be a domain such as example.dev", o.Group)
	}
	if o.Module == "" {
		o.Module = o.Group + "/" + o.Name
	}
	for _, k := range KindNames() {
		if o.Kind == k {
			return nil
		}
	}
	return fmt.Errorf("kind %q: there are %s", o.Kind, strings.Join(KindNames(), ", "))
}

// Write writes a project into dir, which must not exist or be empty.
func Write(dir string, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	files, err := o.files()
	if err != nil {
		return err
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(text), "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(file, text, mode); err != nil {
			return err
		}
	}
	return nil
}

// files are those of the project, by their path in it.
func (o *Options) files() (map[string][]byte, error) {
	replace := o.replacer()
	out := map[string][]byte{}
	for _, from := range []string{common, o.Kind} {
		base := path.Join(root, from)
		err := fs.WalkDir(projects, base, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := projects.ReadFile(file)
			if err != nil {
				return err
			}
			name := replace.Replace(strings.TrimPrefix(file, base+"/"))
			text := []byte(replace.Replace(string(raw)))
			if path.Ext(name) == ".go" {
				// Other names are sorted otherwise, and have other lengths.
				if text, err = format.Source(text); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			out[name] = text
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("project of kind %s: %w", o.Kind, err)
		}
	}
	mod, sum, err := o.module()
	if err != nil {
		return nil, err
	}
	out["go.mod"] = mod
	if len(sum) > 0 {
		out["go.sum"] = sum
	}
	return out, nil
}

func (o *Options) replacer() *strings.Replacer {
	kind := camel(o.Name)
	lower := strings.ReplaceAll(o.Name, "-", "")
	// Of several that fit, the first is taken.
	return strings.NewReplacer(
		importRoot+o.Kind, o.Module,
		"%%commands%%", strings.TrimSpace(commands),
		"gizmo-name", o.Name,
		"gizmos", plural(lower),
		"gizmo", lower,
		"Gizmos", plural(kind),
		"Gizmo", kind,
		"example.dev", o.Group,
	)
}

func camel(name string) string {
	var b strings.Builder
	for _, part := range strings.Split(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// plural is English enough for the name of a resource, which its author may change.
func plural(s string) string {
	ends := func(suffixes ...string) bool {
		for _, x := range suffixes {
			if strings.HasSuffix(s, x) {
				return true
			}
		}
		return false
	}
	switch {
	case ends("s", "x", "z", "ch", "sh"):
		return s + "es"
	case ends("y") && !ends("ay", "ey", "oy", "uy"):
		return strings.TrimSuffix(s, "y") + "ies"
	default:
		return s + "s"
	}
}
