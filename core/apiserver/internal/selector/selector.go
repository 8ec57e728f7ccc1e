// Package selector matches label and field selectors on an object's bytes, without
// decoding it.
//
// It must not know kinds: which fields can be selected is told by the caller.
package selector

import (
	"fmt"
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
	path  string // in gjson's form
	value string
	not   bool
}

// Values finds the value of a field, given as a gjson path: a way to keep values that
// several selectors look at.
type Values func(path string) string

// Parse parses a request's selectors. known reports whether a field, such as
// "spec.nodeName", can be selected.
func Parse(labelSelector, fieldSelector string, known func(field string) bool) (Selector, error) {
	var s Selector
	if labelSelector != "" {
		l, err := labels.Parse(labelSelector)
		if err != nil {
			return s, fmt.Errorf("unable to parse requirement: %w", err)
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
		return s, fmt.Errorf("fieldSelector: %w", err)
	}
	for _, r := range f.Requirements() {
		if r.Field != "metadata.name" && r.Field != "metadata.namespace" && !known(r.Field) {
			return s, fmt.Errorf("field label not supported: %s", r.Field)
		}
		not := r.Operator == selection.NotEquals
		s.fields = append(s.fields, fieldTerm{path: r.Field, value: r.Value, not: not})
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

// Value returns a field's value as a string, "" where it is absent.
func Value(data []byte, path string) string {
	return strings.Clone(gjson.GetBytes(data, path).String())
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
