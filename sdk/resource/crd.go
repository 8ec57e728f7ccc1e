package resource

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// FromCRD reads definitions from CustomResourceDefinitions (apiextensions.k8s.io/v1) in YAML or
// JSON, as controller-gen and `pintle plugin generate` write them from Go structs with markers.
// Each text may hold several documents.
//
// It is strict: unknown and repeated fields are errors, and what is wrong is named by its path.
// The status, and parts of a schema that only document (title, example, externalDocs), are left
// out. A host checks the schemas when it is offered the types; tests with plugintest do so before.
func FromCRD(texts ...[]byte) ([]*Definition, error) {
	var out []*Definition
	for _, text := range texts {
		docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("custom resource definition: %w", err)
			}
			d, err := definitionFromCRD(doc)
			if err != nil {
				return nil, err
			}
			if d != nil {
				out = append(out, d)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no CustomResourceDefinition")
	}
	return out, nil
}

// FromCRDFiles is FromCRD for the files that match a pattern, which is that of fs.Glob. It is
// made for embedded ones:
//
//	//go:embed crds/*.yaml
//	var crds embed.FS
//	…
//	return resource.FromCRDFiles(crds, "crds/*.yaml")
func FromCRDFiles(files fs.FS, pattern string) ([]*Definition, error) {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no file matches %s", pattern)
	}
	var out []*Definition
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("custom resource definition: %w", err)
		}
		defs, err := FromCRD(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, defs...)
	}
	return out, nil
}

// crdObject is a CustomResourceDefinition as it is written. The types of
// k8s.io/apiextensions-apiserver would say the same and bring protocol buffers and more into
// each author's build.
type crdObject struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            crdSpec           `json:"spec"`
	Status          json.RawMessage   `json:"status,omitempty"`
}

type crdSpec struct {
	Group                 string         `json:"group"`
	Names                 crd.Names      `json:"names"`
	Scope                 crd.Scope      `json:"scope"`
	Versions              []crdVersion   `json:"versions"`
	Conversion            *crdConversion `json:"conversion,omitempty"`
	PreserveUnknownFields bool           `json:"preserveUnknownFields,omitempty"`
}

type crdConversion struct {
	Strategy string          `json:"strategy"`
	Webhook  json.RawMessage `json:"webhook,omitempty"`
}

type crdVersion struct {
	Name               string `json:"name"`
	Served             bool   `json:"served"`
	Storage            bool   `json:"storage"`
	Deprecated         bool   `json:"deprecated,omitempty"`
	DeprecationWarning string `json:"deprecationWarning,omitempty"`
	Schema             struct {
		OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
	} `json:"schema"`
	Subresources struct {
		Status *struct{}  `json:"status,omitempty"`
		Scale  *crd.Scale `json:"scale,omitempty"`
	} `json:"subresources,omitzero"`
	Columns          []crdColumn `json:"additionalPrinterColumns,omitempty"`
	SelectableFields []struct {
		JSONPath string `json:"jsonPath"`
	} `json:"selectableFields,omitempty"`
}

type crdColumn struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Format      string `json:"format,omitempty"`
	Description string `json:"description,omitempty"`
	Priority    int32  `json:"priority,omitempty"`
	JSONPath    string `json:"jsonPath"`
}

// definitionFromCRD returns nil for an empty document.
func definitionFromCRD(doc []byte) (*Definition, error) {
	text, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, fmt.Errorf("custom resource definition: %w", err)
	}
	if string(bytes.TrimSpace(text)) == "null" {
		return nil, nil
	}
	var c crdObject
	unknown, err := kjson.UnmarshalStrict(text, &c)
	if err == nil {
		err = errors.Join(unknown...)
	}
	if err != nil {
		return nil, fmt.Errorf("custom resource definition %q: %w", c.Metadata.Name, err)
	}
	if c.APIVersion != "apiextensions.k8s.io/v1" || c.Kind != "CustomResourceDefinition" {
		return nil, fmt.Errorf("%s %q of %q is no CustomResourceDefinition of apiextensions.k8s.io/v1", c.Kind, c.Metadata.Name, c.APIVersion)
	}
	d := &Definition{
		Group: c.Spec.Group, Names: c.Spec.Names, Scope: c.Spec.Scope,
		PreserveUnknownFields: c.Spec.PreserveUnknownFields,
	}
	completeNames(&d.Names)
	if conv := c.Spec.Conversion; conv != nil && conv.Strategy != "None" {
		d.Conversion = &crd.Conversion{Strategy: conv.Strategy, Webhook: conv.Webhook}
	}
	for i := range c.Spec.Versions {
		v, err := versionFromCRD(&c.Spec.Versions[i])
		if err != nil {
			return nil, fmt.Errorf("custom resource definition %q: spec.versions[%d].%w", c.Metadata.Name, i, err)
		}
		d.Versions = append(d.Versions, v)
	}
	if err := checkCRD(&c, d); err != nil {
		return nil, fmt.Errorf("custom resource definition %q: %w", c.Metadata.Name, err)
	}
	return d, nil
}

// completeNames sets what a server would.
func completeNames(n *crd.Names) {
	if n.Singular == "" {
		n.Singular = strings.ToLower(n.Kind)
	}
	if n.ListKind == "" && n.Kind != "" {
		n.ListKind = n.Kind + "List"
	}
}

// checkCRD finds what would only be seen in a cluster.
func checkCRD(c *crdObject, d *Definition) error {
	switch want := d.Names.Plural + "." + d.Group; {
	case d.Group == "" || d.Names.Plural == "" || d.Names.Kind == "":
		return errors.New("spec.group, spec.names.plural and spec.names.kind are needed")
	case c.Metadata.Name != want:
		return fmt.Errorf("metadata.name: must be %q", want)
	case d.Scope != NamespaceScoped && d.Scope != ClusterScoped:
		return fmt.Errorf("spec.scope: %q is neither %s nor %s", d.Scope, NamespaceScoped, ClusterScoped)
	}
	storage := 0
	for _, v := range d.Versions {
		if v.Storage {
			storage++
		}
	}
	if storage != 1 {
		return fmt.Errorf("spec.versions: %d are marked as storage, exactly one must be", storage)
	}
	return nil
}

func versionFromCRD(in *crdVersion) (Version, error) {
	v := Version{
		Name: in.Name, Served: in.Served, Storage: in.Storage,
		Deprecated: in.Deprecated, DeprecationWarning: in.DeprecationWarning,
		Status: in.Subresources.Status != nil, Scale: in.Subresources.Scale,
	}
	for _, c := range in.Columns {
		v.Columns = append(v.Columns, Column{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority, JSONPath: c.JSONPath,
		})
	}
	for _, f := range in.SelectableFields {
		v.SelectableFields = append(v.SelectableFields, f.JSONPath)
	}
	if in.Schema.OpenAPIV3Schema == nil {
		return v, errors.New("schema.openAPIV3Schema: is needed")
	}
	simplify(in.Schema.OpenAPIV3Schema)
	text, err := json.Marshal(in.Schema.OpenAPIV3Schema)
	if err == nil {
		_, err = parseSchema(text)
	}
	if err != nil {
		return v, fmt.Errorf("schema.openAPIV3Schema: %w", err)
	}
	// The text takes less memory than what it says, and is asked for once.
	v.Schema = func() (*Schema, error) { return parseSchema(text) }
	return v, nil
}

func parseSchema(text []byte) (*Schema, error) {
	s := &schema.Schema{}
	unknown, err := kjson.UnmarshalStrict(text, s)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(unknown...)
}

// simplify brings a CRD's schema into the form of crd/schema, which has no booleans for
// schemas and nothing that only documents.
func simplify(s map[string]any) {
	for _, k := range []string{"title", "example", "externalDocs", "id", "$schema"} {
		delete(s, k)
	}
	if s["default"] == nil {
		delete(s, "default")
	}
	switch a := s["additionalProperties"].(type) {
	case bool:
		delete(s, "additionalProperties")
		if a {
			s["additionalProperties"] = map[string]any{}
		}
	case map[string]any:
		simplify(a)
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		for _, p := range properties {
			simplifyAny(p)
		}
	}
	for _, k := range []string{"items", "not"} {
		simplifyAny(s[k])
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := s[k].([]any)
		for _, e := range list {
			simplifyAny(e)
		}
	}
}

func simplifyAny(s any) {
	if m, ok := s.(map[string]any); ok {
		simplify(m)
	}
}
