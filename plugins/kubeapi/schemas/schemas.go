package schemas

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"weak"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/gotypes"
)

//go:embed data
var data embed.FS

// ForKind returns the schema of a kind: a $ref to its component, with Root set. A kind
// without a schema is an error that names it.
func ForKind(gvk runtimeschema.GroupVersionKind) (*schema.Schema, error) {
	name, ok := gotypes.Component(gvk)
	if !ok {
		return nil, fmt.Errorf("kubeapi: no schema for %s", gvk)
	}
	return &schema.Schema{Ref: name, Root: Components()}, nil
}

// Components returns the components of all kinds. It is always the same value, so that a
// compiler can keep what it made of them.
func Components() *schema.Components { return shared() }

var shared = sync.OnceValue(func() *schema.Components {
	l := &loader{
		parsed: map[string]weak.Pointer[schema.Schema]{},
		texts:  map[string]weak.Pointer[[]byte]{},
	}
	return &schema.Components{Get: l.get}
})

// loader parses components one by one when they are asked for. It holds on to nothing but
// the compressed files: a schema lives as long as somebody uses it, and the text of a file
// until the next collection.
type loader struct {
	mu     sync.Mutex
	parsed map[string]weak.Pointer[schema.Schema]
	texts  map[string]weak.Pointer[[]byte]
}

func (l *loader) get(name string) *schema.Schema {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.parsed[name].Value(); s != nil {
		return s
	}
	text, err := l.text(path(name, "schema"))
	if err != nil {
		return nil
	}
	raw := member(text, name)
	if raw == nil {
		return nil
	}
	s := &schema.Schema{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil
	}
	l.parsed[name] = weak.Make(s)
	return s
}

func (l *loader) text(path string) ([]byte, error) {
	if t := l.texts[path].Value(); t != nil {
		return *t, nil
	}
	t, err := unpack(path)
	if err != nil {
		return nil, err
	}
	l.texts[path] = weak.Make(&t)
	return t, nil
}

// Describe returns a copy of a component with the descriptions of itself and its fields.
// A component without descriptions comes back as it is.
func Describe(component string, s *schema.Schema) *schema.Schema {
	if s == nil {
		return nil
	}
	text, err := unpack(path(component, "docs"))
	if err != nil {
		return s
	}
	raw := member(text, component)
	if raw == nil {
		return s
	}
	var texts map[string]string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return s
	}
	c := *s
	c.Description = texts[""]
	c.Properties = make(map[string]*schema.Schema, len(s.Properties))
	for field, p := range s.Properties {
		described := *p
		described.Description = texts[field]
		c.Properties[field] = &described
	}
	return &c
}

// path returns the data file that has a component: that of its group and version.
func path(component, file string) string {
	if strings.HasPrefix(component, "io.k8s.apimachinery.") {
		return "data/apimachinery/" + file + ".json.gz"
	}
	parts := strings.Split(component, ".")
	if len(parts) < 3 {
		return ""
	}
	return "data/" + parts[len(parts)-3] + "." + parts[len(parts)-2] + "/" + file + ".json.gz"
}

func unpack(path string) ([]byte, error) {
	f, err := data.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// member returns the value of a member of a file in which each has a line of its own.
func member(text []byte, name string) []byte {
	key := []byte("\n\"" + name + "\":")
	i := bytes.Index(text, key)
	if i < 0 {
		return nil
	}
	line := text[i+len(key):]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	return bytes.TrimSuffix(line, []byte(","))
}
