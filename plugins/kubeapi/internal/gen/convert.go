package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/crd/schema"
)

// dump is what dump.go.txt prints.
type dump struct {
	Components map[string]json.RawMessage
	Always     map[string][]string
}

// opaque components have a JSON form that their Go structure does not show.
var opaque = map[string]schema.Schema{
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {Format: "int-or-string", IntOrString: true},
	"io.k8s.apimachinery.pkg.api.resource.Quantity":   {Type: "string", Format: "quantity"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":       {Type: "string", Format: "date-time"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":  {Type: "string", Format: "date-time"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.Duration":   {Type: "string"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":   {Type: "object", PreserveUnknownFields: true},
	"io.k8s.apimachinery.pkg.runtime.RawExtension":    {PreserveUnknownFields: true},
}

// openEnums are fields of whose unknown values upstream has more to say, or says it about
// another field. The kinds' hooks do.
var openEnums = map[string][]string{
	"core.v1.PersistentVolumeSpec":              {"accessModes"},
	"core.v1.PersistentVolumeClaimSpec":         {"accessModes"},
	"core.v1.ResourceQuotaSpec":                 {"scopes"},
	"core.v1.ScopedResourceSelectorRequirement": {"operator", "scopeName"},
	"apps.v1.DaemonSetUpdateStrategy":           {"type"},
	"apps.v1.StatefulSetUpdateStrategy":         {"type"},
	"apps.v1.StatefulSetSpec":                   {"podManagementPolicy"},
	"storage.v1.StorageClass":                   {"reclaimPolicy"},
}

// convert turns OpenAPI definitions into components, opens enums, and lays the overlay over
// them.
func convert(d *dump, overlay []byte, open map[string][]string) (map[string]*schema.Schema, error) {
	out := make(map[string]*schema.Schema, len(d.Components))
	for name, raw := range d.Components {
		s := &schema.Schema{}
		if err := json.Unmarshal(raw, s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if o, ok := opaque[name]; ok {
			o.Description = s.Description
			out[name] = &o
			continue
		}
		always := d.Always[name]
		for field, p := range s.Properties {
			clean(p)
			if string(p.Default) == "{}" && !slices.Contains(always, field) {
				p.Default = nil
			}
			if p.Default == nil && slices.Contains(always, field) {
				p.Default = json.RawMessage("{}")
			}
		}
		for _, root := range []string{"apiVersion", "kind"} {
			// TypeMeta: an empty apiVersion or kind is never written.
			if p := s.Properties[root]; p != nil && s.Properties["metadata"] != nil {
				p.Default = nil
			}
		}
		out[name] = s
	}
	for short, fields := range open {
		c := out["io.k8s.api."+short]
		if c == nil {
			return nil, fmt.Errorf("%s: no such component", short)
		}
		for _, field := range fields {
			p := c.Properties[field]
			if p == nil {
				return nil, fmt.Errorf("%s.%s: no such field", short, field)
			}
			if p.Items != nil {
				p = p.Items
			}
			p.OpenEnum = true
		}
	}
	if err := lay(out, overlay); err != nil {
		return nil, fmt.Errorf("overlay.yaml: %w", err)
	}
	return out, nil
}

// clean removes what openapi-gen says about elements and means nothing for them.
func clean(s *schema.Schema) {
	if s == nil {
		return
	}
	for _, e := range []*schema.Schema{s.Items, s.AdditionalProperties} {
		if e == nil {
			continue
		}
		e.Default = nil
		clean(e)
	}
	if bytes.Equal(s.Default, []byte("null")) {
		s.Default = nil
	}
}

// lay sets defaults by component and field: {core.v1.PodSpec: {dnsPolicy: ClusterFirst}}.
func lay(components map[string]*schema.Schema, overlay []byte) error {
	var defaults map[string]map[string]json.RawMessage
	if err := yaml.UnmarshalStrict(overlay, &defaults); err != nil {
		return err
	}
	for short, fields := range defaults {
		c := components["io.k8s.api."+short]
		if c == nil {
			return fmt.Errorf("%s: no such component", short)
		}
		for field, value := range fields {
			p := c.Properties[field]
			if p == nil {
				return fmt.Errorf("%s.%s: no such field", short, field)
			}
			p.Default = compact(value)
		}
	}
	return nil
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw
	}
	return b.Bytes()
}

// file returns the data file of a component: its Go package's, or that of apimachinery.
func file(component string) string {
	if strings.HasPrefix(component, "io.k8s.apimachinery.") {
		return "apimachinery"
	}
	parts := strings.Split(component, ".")
	return parts[len(parts)-3] + "." + parts[len(parts)-2]
}
