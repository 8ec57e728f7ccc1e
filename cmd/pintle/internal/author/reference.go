package author

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
)

// Reference writes what a plugin says of itself as a page of Markdown.
func Reference(w io.Writer, a *Answers) error {
	p := &page{}
	p.line("# %s %s\n", a.Info.Name, a.Info.Version)
	if a.Info.Description != "" {
		p.line("%s.\n", strings.TrimSuffix(a.Info.Description, "."))
	}
	names := make([]string, len(a.Points))
	for i, point := range a.Points {
		names[i] = "`" + string(point) + "`"
	}
	p.line("Extension points: %s\n", strings.Join(names, ", "))
	if err := p.settings(a.Settings); err != nil {
		return err
	}
	if len(a.Types) > 0 {
		p.line("## Types\n")
	}
	for _, d := range a.Types {
		if err := p.definition(d); err != nil {
			return fmt.Errorf("type %s: %w", d.GroupResource(), err)
		}
	}
	p.permissions(a.Info.Permissions)
	_, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n")
	return err
}

type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...)
}

func (p *page) settings(raw []byte) error {
	p.line("## Settings\n")
	if len(raw) == 0 {
		p.line("It takes none.\n")
		return nil
	}
	s := &schema.Schema{}
	if err := json.Unmarshal(raw, s); err != nil {
		return fmt.Errorf("schema of the settings: %w", err)
	}
	p.fields("", s, nil)
	return nil
}

func (p *page) definition(d *crd.Definition) error {
	p.line("### %s\n", d.Names.Kind)
	p.line("`%s`, %s.", d.GroupResource(), map[bool]string{true: "in a namespace", false: "one for the cluster"}[d.Namespaced()])
	if len(d.Names.ShortNames) > 0 {
		p.line("Short for it: `%s`.", strings.Join(d.Names.ShortNames, "`, `"))
	}
	p.line("")
	for i := range d.Versions {
		v := &d.Versions[i]
		if !v.Served {
			continue
		}
		p.line("#### %s\n", apiVersion(d.Group, v.Name))
		p.line("%s", versionText(v))
		if v.Schema == nil {
			continue
		}
		s, err := v.Schema()
		if err != nil {
			return fmt.Errorf("version %s: %w", v.Name, err)
		}
		if s.Description != "" {
			p.line("%s\n", s.Description)
		}
		p.fields("", s, []string{"apiVersion", "kind", "metadata"})
		p.columns(v.Columns)
	}
	return nil
}

func apiVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}

// versionText says what is special about a version, in a paragraph or not at all.
func versionText(v *crd.Version) string {
	var parts []string
	if v.Deprecated {
		text := "Deprecated."
		if v.DeprecationWarning != "" {
			text = "Deprecated: " + v.DeprecationWarning + "."
		}
		parts = append(parts, text)
	}
	var sub []string
	if v.Status {
		sub = append(sub, "`status`")
	}
	if v.Scale != nil {
		sub = append(sub, "`scale`")
	}
	for _, s := range v.Subresources {
		sub = append(sub, "`"+s.Name+"`")
	}
	if len(sub) > 0 {
		parts = append(parts, "Subresources: "+strings.Join(sub, ", ")+".")
	}
	if len(v.SelectableFields) > 0 {
		parts = append(parts, "Field selectors: `"+strings.Join(v.SelectableFields, "`, `")+"`.")
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, " ") + "\n"
}

// fields is a table of all fields of an object, by their paths.
func (p *page) fields(prefix string, s *schema.Schema, without []string) {
	rows := fieldRows(prefix, s, without, nil)
	if len(rows) == 0 {
		p.line("No fields are named.\n")
		return
	}
	p.line("| field | type | default | |\n|---|---|---|---|")
	for _, r := range rows {
		p.line("| `%s` | %s | %s | %s |", r.path, r.typ, r.def, r.text)
	}
	p.line("")
	if len(s.Validations) > 0 {
		p.line("Rules: %s\n", rulesText(s.Validations))
	}
}

type row struct{ path, typ, def, text string }

func fieldRows(prefix string, s *schema.Schema, without []string, rows []row) []row {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(without, name) {
			continue
		}
		f := s.Properties[name]
		path := strings.TrimPrefix(prefix+"."+name, ".")
		rows = append(rows, row{
			path: path, typ: typeText(f), def: cell(code(string(f.Default))),
			text: cell(join(f.Description, limits(f, slices.Contains(s.Required, name)))),
		})
		rows = nested(path, f, rows)
	}
	return rows
}

// nested adds the fields of what is in a field.
func nested(path string, f *schema.Schema, rows []row) []row {
	switch {
	case len(f.Properties) > 0:
		return fieldRows(path, f, nil, rows)
	case f.Items != nil:
		return nested(path+"[]", f.Items, rows)
	case f.AdditionalProperties != nil:
		return nested(path+".KEY", f.AdditionalProperties, rows)
	default:
		return rows
	}
}

func typeText(s *schema.Schema) string {
	switch {
	case s.Ref != "":
		return "`" + s.Ref[strings.LastIndexByte(s.Ref, '.')+1:] + "`"
	case s.IntOrString:
		return "integer or string"
	case s.Type == "array" && s.Items != nil:
		return "list of " + typeText(s.Items)
	case s.AdditionalProperties != nil:
		return "map of " + typeText(s.AdditionalProperties)
	case s.Type == "":
		return "any"
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	default:
		return s.Type
	}
}

// limits say in words what a value has to be.
func limits(s *schema.Schema, required bool) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if required {
		add("Required.")
	}
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			values[i] = code(string(e))
		}
		add("One of %s.", strings.Join(values, ", "))
	}
	bound := func(word string, v *float64, exclusive bool) {
		if v != nil {
			add("%s %v%s.", word, *v, map[bool]string{true: ", exclusive", false: ""}[exclusive])
		}
	}
	bound("At least", s.Minimum, s.ExclusiveMinimum)
	bound("At most", s.Maximum, s.ExclusiveMaximum)
	bound("A multiple of", s.MultipleOf, false)
	count := func(least, most *int64, what string) {
		if least != nil {
			add("At least %d %s.", *least, what)
		}
		if most != nil {
			add("At most %d %s.", *most, what)
		}
	}
	count(s.MinLength, s.MaxLength, "characters")
	count(s.MinItems, s.MaxItems, "items")
	count(s.MinProperties, s.MaxProperties, "entries")
	if s.Pattern != "" {
		add("Matches %s.", code(s.Pattern))
	}
	if s.Nullable {
		add("May be null.")
	}
	if len(s.ListMapKeys) > 0 {
		add("One item for each %s.", strings.Join(s.ListMapKeys, ", "))
	}
	if len(s.Validations) > 0 {
		add("Rules: %s", rulesText(s.Validations))
	}
	return strings.Join(out, " ")
}

func rulesText(rules []schema.ValidationRule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = code(r.Rule)
		if r.Message != "" {
			texts[i] += " (" + r.Message + ")"
		}
	}
	return strings.Join(texts, "; ") + "."
}

func (p *page) columns(columns []crd.Column) {
	if len(columns) == 0 {
		return
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = strings.ToUpper(c.Name)
		if c.Priority > 0 {
			names[i] += " (wide)"
		}
	}
	p.line("Columns of `kubectl get`: %s.\n", strings.Join(names, ", "))
}

func (p *page) permissions(rules []rbacv1.PolicyRule) {
	p.line("## Permissions\n")
	if len(rules) == 0 {
		p.line("It asks for none.\n")
		return
	}
	p.line("| groups | resources | verbs |\n|---|---|---|")
	for _, r := range rules {
		if len(r.NonResourceURLs) > 0 {
			p.line("| | %s | %s |", codes(r.NonResourceURLs), strings.Join(r.Verbs, ", "))
			continue
		}
		groups := slices.Clone(r.APIGroups)
		for i, g := range groups {
			if g == "" {
				groups[i] = "core"
			}
		}
		resources := codes(r.Resources)
		if len(r.ResourceNames) > 0 {
			resources += " named " + codes(r.ResourceNames)
		}
		p.line("| %s | %s | %s |", strings.Join(groups, ", "), resources, strings.Join(r.Verbs, ", "))
	}
	p.line("")
}

func codes(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = cell(code(s))
	}
	return strings.Join(out, ", ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell fits a text into a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

// join puts two texts behind each other, the first as a sentence.
func join(a, b string) string {
	a = strings.TrimSpace(a)
	if a != "" && !strings.HasSuffix(a, ".") {
		a += "."
	}
	return strings.TrimSpace(a + " " + b)
}
