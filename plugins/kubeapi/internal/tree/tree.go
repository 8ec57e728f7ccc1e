package tree

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
)

// Map returns the object at key, or nil where there is none.
func Map(m map[string]any, key string) map[string]any {
	v, _ := m[key].(map[string]any)
	return v
}

// In returns the object at a path of keys, or nil.
func In(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	return m
}

// List returns the array at key, or nil.
func List(m map[string]any, key string) []any {
	v, _ := m[key].([]any)
	return v
}

// Str returns the string at key, or "".
func Str(m map[string]any, key string) string {
	v, _ := m[key].(string)
	return v
}

// Bool returns the boolean at key, or false.
func Bool(m map[string]any, key string) bool {
	v, _ := m[key].(bool)
	return v
}

// Int returns the integer at key, and whether there is one.
func Int(m map[string]any, key string) (int64, bool) {
	switch v := m[key].(type) {
	case int64:
		return v, true
	case float64:
		if v == float64(int64(v)) {
			return int64(v), true
		}
	}
	return 0, false
}

// Int0 returns the integer at key, or 0.
func Int0(m map[string]any, key string) int64 {
	v, _ := Int(m, key)
	return v
}

// Object returns v as an object, or nil.
func Object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// Ensure returns the object at key, making an empty one where there is none.
func Ensure(m map[string]any, key string) map[string]any {
	if v, ok := m[key].(map[string]any); ok {
		return v
	}
	v := map[string]any{}
	m[key] = v
	return v
}

// SetDefault sets key where it is absent or null.
func SetDefault(m map[string]any, key string, value any) {
	if m[key] == nil {
		m[key] = value
	}
}

// Strings returns the strings of the array at key.
func Strings(m map[string]any, key string) []string {
	list := List(m, key)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Of returns strings as an array.
func Of(values ...string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// StringMap returns the string members of the object at key.
func StringMap(m map[string]any, key string) map[string]string {
	o := Map(m, key)
	if o == nil {
		return nil
	}
	out := make(map[string]string, len(o))
	for k, v := range o {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// Copy returns a deep copy of a value.
func Copy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return CopyMap(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = Copy(v[i])
		}
		return out
	default:
		return v
	}
}

// CopyMap returns a deep copy of an object.
func CopyMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = Copy(v)
	}
	return out
}

// Equal reports whether two values mean the same to Kubernetes: absent, null, and empty
// arrays and objects are one, and so are 1 and 1.0.
func Equal(a, b any) bool {
	if empty(a) && empty(b) {
		return true
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range a {
			if !Equal(v, b[k]) {
				return false
			}
		}
		for k, v := range b {
			if _, ok := a[k]; !ok && !empty(v) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !Equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case int64:
		if f, ok := b.(float64); ok {
			return float64(a) == f
		}
		return a == b
	case float64:
		if i, ok := b.(int64); ok {
			return a == float64(i)
		}
		return a == b
	default:
		return a == b
	}
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// Typed converts an object to a Go type, for kinds whose checks are rare. The error names
// the field that does not fit.
func Typed[T any](m map[string]any) (*T, error) {
	out := new(T)
	if m == nil {
		return out, nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, out); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", out, err)
	}
	return out, nil
}

// Untyped converts a Go value (a pointer) to an object.
func Untyped(v any) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return m, nil
}
