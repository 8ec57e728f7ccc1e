package schema

import (
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// duplicates reports each value of ids that occurs a second time; values are what is
// shown for it.
func (w *validator) duplicates(ids, values []any) {
	if len(ids) < 2 {
		return
	}
	seen := make(map[any]int, len(ids))
	for i, id := range ids {
		key := id
		switch id.(type) {
		case map[string]any, []any:
			// Maps are encoded in the order of their keys, so that equal values have equal
			// text.
			text, err := json.Marshal(id)
			if err != nil {
				w.errs = append(w.errs, field.Invalid(w.fieldPath().Index(i), id, err.Error()))
				continue
			}
			key = compound(text)
		}
		seen[key]++
		if seen[key] == 2 {
			w.errs = append(w.errs, field.Duplicate(w.fieldPath().Index(i), values[i]))
		}
	}
}

// compound is the text of a list or object, told apart from a string with that text.
type compound string

// duplicateKeys checks a list of list-type map.
func (w *validator) duplicateKeys(n *node, x []any) {
	for i, v := range x {
		if _, ok := v.(map[string]any); !ok && v != nil {
			w.errs = append(w.errs, field.Invalid(w.fieldPath().Index(i), v, "must be an object for an array of list-type map"))
			return
		}
	}
	if len(x) < 2 {
		return
	}
	ids := make([]any, len(x))
	values := make([]any, len(x))
	for i, v := range x {
		object, _ := v.(map[string]any)
		if len(n.listKeys) == 1 {
			// The common case is spared a map for each element.
			id, ok := object[n.listKeys[0]]
			if !ok {
				ids[i] = absent{}
				continue
			}
			ids[i] = id
			continue
		}
		ids[i] = keysOf(n, object)
		values[i] = ids[i]
	}
	if len(n.listKeys) == 1 {
		if !anyTwice(ids) {
			return
		}
		for i, v := range x {
			object, _ := v.(map[string]any)
			values[i] = keysOf(n, object)
		}
	}
	w.duplicates(ids, values)
}

// absent stands for a key that an element does not have.
type absent struct{}

// anyTwice reports whether a scalar may occur twice; lists and objects always may.
func anyTwice(ids []any) bool {
	for i, a := range ids {
		switch a.(type) {
		case map[string]any, []any:
			return true
		}
		if len(ids) > 16 {
			return true // the map of duplicates is cheaper than comparing all
		}
		for _, b := range ids[:i] {
			if a == b {
				return true
			}
		}
	}
	return false
}

func keysOf(n *node, object map[string]any) map[string]any {
	keys := make(map[string]any, len(n.listKeys))
	for _, k := range n.listKeys {
		if v, ok := object[k]; ok {
			keys[k] = v
		}
	}
	return keys
}

// findByKeys finds the element of a list of list-type map that has the keys of v.
func findByKeys(n *node, list []any, v any) (any, bool) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	for _, candidate := range list {
		other, ok := candidate.(map[string]any)
		if !ok {
			continue
		}
		same := true
		for _, k := range n.listKeys {
			if !reflect.DeepEqual(object[k], other[k]) {
				same = false
				break
			}
		}
		if same {
			return candidate, true
		}
	}
	return nil, false
}

func hasEqualItems(x []any) bool {
	for i, a := range x {
		for _, b := range x[:i] {
			if reflect.DeepEqual(a, b) {
				return true
			}
		}
	}
	return false
}

// embedded checks the type and the metadata of an embedded resource.
func (w *validator) embedded(x map[string]any) {
	path := w.fieldPath()
	add := func(e *field.Error) { w.errs = append(w.errs, e) }
	apiVersion, found := x["apiVersion"]
	if text, ok := apiVersion.(string); !found {
		add(field.Required(path.Child("apiVersion"), ""))
	} else if !ok {
		add(field.Invalid(path.Child("apiVersion"), apiVersion, "must be a string"))
	} else if text == "" {
		add(field.Invalid(path.Child("apiVersion"), text, "must not be empty"))
	} else if _, err := runtimeschema.ParseGroupVersion(text); err != nil {
		add(field.Invalid(path.Child("apiVersion"), text, err.Error()))
	}
	kind, found := x["kind"]
	if text, ok := kind.(string); !found {
		add(field.Required(path.Child("kind"), ""))
	} else if !ok {
		add(field.Invalid(path.Child("kind"), kind, "must be a string"))
	} else if text == "" {
		add(field.Invalid(path.Child("kind"), text, "must not be empty"))
	} else if msgs := utilvalidation.IsDNS1035Label(strings.ToLower(text)); len(msgs) > 0 {
		add(field.Invalid(path.Child("kind"), text, "may have mixed case, but should otherwise match: "+strings.Join(msgs, ",")))
	}
	metadata, found := x["metadata"]
	if !found {
		return
	}
	tree, ok := metadata.(map[string]any)
	if !ok {
		add(field.Invalid(path.Child("metadata"), metadata, "must be an object"))
		return
	}
	var meta metav1.ObjectMeta
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(tree, &meta); err != nil {
		add(field.Invalid(path.Child("metadata"), metadata, err.Error()))
		return
	}
	if meta.Name == "" {
		meta.Name = "fakename" // an embedded resource need not be named
	}
	segment := func(name string, prefix bool) []string {
		if prefix {
			return content.IsPathSegmentPrefix(name)
		}
		return content.IsPathSegmentName(name)
	}
	w.errs = append(w.errs, metavalidation.ValidateObjectMeta(&meta, len(meta.Namespace) > 0, segment, path.Child("metadata"))...)
}
