package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/pintle-dev/pintle/crd/schema"
)

const prefix = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := build()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile("schema.json.gz", b.Bytes(), 0o644)
}

// build returns the components as JSON.
func build() ([]byte, error) {
	definitions := openapi.GetOpenAPIDefinitions(func(path string) spec.Ref { return spec.MustCreateRef(path) })
	out := map[string]*schema.Schema{}
	for name, d := range definitions {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		s, err := convert(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = s
	}
	if out[prefix+"CustomResourceDefinition"] == nil {
		return nil, fmt.Errorf("upstream's definitions have no %sCustomResourceDefinition", prefix)
	}
	// A schema may also be written as true, or as a list: known fields are known all the
	// same. Without a type other values pass as they are.
	for _, union := range []string{"JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray"} {
		out[prefix+union].Properties = out[prefix+"JSONSchemaProps"].Properties
	}
	return json.Marshal(out)
}

func convert(d common.OpenAPIDefinition) (*schema.Schema, error) {
	text, err := json.Marshal(d.Schema)
	if err != nil {
		return nil, err
	}
	s := &schema.Schema{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	clean(s)
	// Only the fields that Go always writes keep a default: all others are left absent.
	for name, p := range s.Properties {
		if string(p.Default) == "{}" || !slices.Contains(s.Required, name) {
			p.Default = nil
		}
	}
	return s, nil
}

// clean removes defaults of elements, which mean nothing, and unwraps references.
func clean(s *schema.Schema) {
	if ref := len(s.AllOf) == 1 && s.AllOf[0].Ref != ""; ref {
		s.Ref, s.AllOf = s.AllOf[0].Ref, nil
	}
	for _, p := range s.Properties {
		clean(p)
	}
	for _, e := range []*schema.Schema{s.Items, s.AdditionalProperties} {
		if e != nil {
			e.Default = nil
			clean(e)
		}
	}
}
