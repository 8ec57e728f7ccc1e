// Package selector matches label and field selectors on an object's bytes, without
// decoding it.
//
// It must not know kinds: which fields can be selected is told by the caller.
package selector

import (
	"strings"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Selector selects objects. The zero value selects all.
type Selector struct {
	labels labels.Selector
	fields []fieldTerm
	// name is set where the field selector asks for one name.
	name string
}

type fieldTerm struct {
	path  string // in gjson's form, or several
	value string
	not   bool
}

// Values finds the value of a field, given as a gjson path: a way to keep values that
// several selectors look at.
type Values func(path string) string

// Known tells the path of a field that can be selected, such as "spec.nodeName". Several
// paths, separated by commas, mean the first that has a value.
type Known func(field string) (path string, ok bool)

// UnknownField is the error for a field that can't be selected.
type UnknownField string

// Error implements error.
func (f UnknownField) Error() string { return "field label not supported: " + string(f) }

// Parse parses a request's selectors.
func Parse(labelSelector, fieldSelector string, known Known) (Selector, error) {
	var s Selector
	if labelSelector != "" {
		l, err := labels.Parse(labelSelector)
		if err != nil {
			return s, err //nolint:wrapcheck // it is for the client, in upstream's words
		}
		if !l.Empty() {
			s.labels = l
		}
	}
	if fieldSelector == "" {
		return s, nil
	}
	f, err := fields.ParseSelector(fieldSelector)
	if err != nil {
		return s, err //nolint:wrapcheck // it is for the client, in upstream's words
	}
	for _, r := range f.Requirements() {
		path, ok := known(r.Field)
		if r.Field == "metadata.name" || r.Field == "metadata.namespace" {
			path, ok = r.Field, true
		}
		if !ok {
			return s, UnknownField(r.Field)
		}
		not := r.Operator == selection.NotEquals
		s.fields = append(s.fields, fieldTerm{path: path, value: r.Value, not: not})
		if r.Field == "metadata.name" && !not {
			s.name = r.Value
		}
	}
	return s, nil
}

// Empty reports whether everything is selected.
func (s *Selector) Empty() bool { return s.labels == nil && len(s.fields) == 0 }

// Name returns the only name that is selected, or "".
func (s *Selector) Name() string { return s.name }

// Matches reports whether an object is selected.
func (s *Selector) Matches(data []byte) bool {
	return s.MatchesWith(data, func(path string) string { return Value(data, path) })
}

// MatchesWith is Matches with field values from values.
func (s *Selector) MatchesWith(data []byte, values Values) bool {
	for i := range s.fields {
		t := &s.fields[i]
		if equal(values(t.path), t.value) == t.not {
			return false
		}
	}
	if s.labels == nil {
		return true
	}
	return s.labels.Matches(rawLabels(gjson.GetBytes(data, "metadata.labels").Raw))
}

// equal compares a field with what is asked for; an absent field is also false and 0.
func equal(have, want string) bool {
	return have == want || have == "" && (want == "false" || want == "0")
}

// Value returns a field's value as a string, "" where it is absent. Of several paths,
// separated by commas, it is the first that is there.
func Value(data []byte, path string) string {
	for path != "" {
		var first string
		first, path, _ = strings.Cut(path, ",")
		if v := gjson.GetBytes(data, first).String(); v != "" {
			return strings.Clone(v)
		}
	}
	return ""
}

// rawLabels are labels as JSON.
type rawLabels string

var _ labels.Labels = rawLabels("")

// Has implements labels.Labels.
func (l rawLabels) Has(key string) bool { _, ok := l.Lookup(key); return ok }

// Get implements labels.Labels.
func (l rawLabels) Get(key string) string { v, _ := l.Lookup(key); return v }

// Lookup implements labels.Labels.
func (l rawLabels) Lookup(key string) (value string, exists bool) {
	gjson.Parse(string(l)).ForEach(func(k, v gjson.Result) bool {
		if k.Str == key {
			value, exists = v.String(), true
			return false
		}
		return true
	})
	return value, exists
}
