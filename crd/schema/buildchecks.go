package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// fillChecks sets the value validations of a node.
func (b *builder) fillChecks(n *node, s *Schema, path string) error {
	c := checks{
		minLength: s.MinLength, maxLength: s.MaxLength,
		minimum: s.Minimum, maximum: s.Maximum, multipleOf: s.MultipleOf,
		exclusiveMin: s.ExclusiveMinimum, exclusiveMax: s.ExclusiveMaximum,
		minItems: s.MinItems, maxItems: s.MaxItems, uniqueItems: s.UniqueItems,
		minProperties: s.MinProperties, maxProperties: s.MaxProperties,
	}
	some := s.MinLength != nil || s.MaxLength != nil || s.Minimum != nil || s.Maximum != nil || s.MultipleOf != nil ||
		s.MinItems != nil || s.MaxItems != nil || s.UniqueItems || s.MinProperties != nil || s.MaxProperties != nil
	if !n.typed {
		c.required = s.Required
		c.format = supportedFormat(s)
		some = some || len(c.required) > 0 || c.format != ""
	}
	if s.Pattern != "" {
		c.pattern = &pattern{source: s.Pattern}
		some = true
	}
	for i, raw := range s.Enum {
		if s.OpenEnum {
			break
		}
		var v any
		if err := utiljson.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("%s: enum[%d]: %w", orRoot(path), i, err)
		}
		c.enum = append(c.enum, v)
		some = true
	}
	var err error
	if c.allOf, err = b.junctor(s.AllOf, path+".allOf"); err != nil {
		return err
	}
	if c.anyOf, err = b.junctor(s.AnyOf, path+".anyOf"); err != nil {
		return err
	}
	if c.oneOf, err = b.junctor(s.OneOf, path+".oneOf"); err != nil {
		return err
	}
	if s.Not != nil {
		if c.not, err = b.node(s.Not, path+".not"); err != nil {
			return err
		}
	}
	if some || len(c.allOf)+len(c.anyOf)+len(c.oneOf) > 0 || c.not != nil {
		n.checks = &c
	}
	return nil
}

// junctor compiles the members of allOf, anyOf or oneOf. They only validate: their nodes
// are never used to prune or to default.
func (b *builder) junctor(in []*Schema, path string) ([]*node, error) {
	var out []*node
	for i, s := range in {
		n, err := b.node(s, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// formats are those that custom resources are checked against; others are ignored, as
// upstream does.
var formats = map[string]bool{
	"bsonobjectid": true, "uri": true, "email": true, "hostname": true, "ipv4": true, "ipv6": true,
	"cidr": true, "mac": true, "uuid": true, "uuid3": true, "uuid4": true, "uuid5": true, "isbn": true,
	"isbn10": true, "isbn13": true, "creditcard": true, "ssn": true, "hexcolor": true, "rgbcolor": true,
	"byte": true, "password": true, "date": true, "duration": true, "datetime": true,
	"k8sshortname": true, "k8slongname": true,
}

func supportedFormat(s *Schema) string {
	if s.Type != "" && s.Type != "string" {
		return ""
	}
	if !formats[strings.ReplaceAll(s.Format, "-", "")] {
		return ""
	}
	return s.Format
}

// hasRules reports whether the schema or a component it refers to has
// x-kubernetes-validations.
func (s *Schema) hasRules(root *Components, seen map[string]bool) bool {
	if s == nil {
		return false
	}
	if ref := s.reference(); ref != "" {
		if seen[ref] || root == nil || metaComponents()[ref] != nil {
			return false
		}
		seen[ref] = true
		return root.Get(ref).hasRules(root, seen)
	}
	if len(s.Validations) > 0 {
		return true
	}
	found := false
	s.children(func(c *Schema) {
		found = found || c.hasRules(root, seen)
	})
	return found
}

// children calls f for each schema directly within s.
func (s *Schema) children(f func(*Schema)) {
	all := slices.Concat(slices.Collect(maps.Values(s.Properties)), []*Schema{s.AdditionalProperties, s.Items, s.Not}, s.AllOf, s.AnyOf, s.OneOf)
	for _, c := range all {
		if c != nil {
			f(c)
		}
	}
}

// resolve returns a copy of the schema with components in the place of references to
// them. It fails for recursive schemas, in which rules are not supported.
func (s *Schema) resolve(root *Components, within []string) (*Schema, error) {
	if s == nil {
		return nil, nil
	}
	if ref := s.reference(); ref != "" {
		for _, w := range within {
			if w == ref {
				return nil, fmt.Errorf("component %q contains itself: x-kubernetes-validations are not supported in recursive schemas", ref)
			}
		}
		target := metaComponents()[ref]
		if target == nil && root != nil {
			target = root.Get(ref)
		}
		if target == nil {
			return nil, fmt.Errorf("component %q is not known", ref)
		}
		out, err := target.resolve(root, append(within[:len(within):len(within)], ref))
		if err == nil && len(s.Default) > 0 {
			out.Default = s.Default
		}
		return out, err
	}
	out := *s
	out.Root = nil
	var err error
	sub := func(c *Schema) *Schema {
		r, e := c.resolve(root, within)
		if e != nil && err == nil {
			err = e
		}
		return r
	}
	if s.Properties != nil {
		out.Properties = make(map[string]*Schema, len(s.Properties))
		for k, c := range s.Properties {
			out.Properties[k] = sub(c)
		}
	}
	out.AdditionalProperties, out.Items, out.Not = sub(s.AdditionalProperties), sub(s.Items), sub(s.Not)
	for _, list := range []*[]*Schema{&out.AllOf, &out.AnyOf, &out.OneOf} {
		var resolved []*Schema
		for _, c := range *list {
			resolved = append(resolved, sub(c))
		}
		*list = resolved
	}
	return &out, err
}
