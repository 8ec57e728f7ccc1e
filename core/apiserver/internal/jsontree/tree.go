package jsontree

import "encoding/json"

// other encodes what hooks may have put into a tree beside the types that decoding gives:
// other integers, typed slices and the like.
func other(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// Copy returns a deep copy of a tree.
func Copy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		return CopyMap(v)
	case []any:
		if v == nil {
			return v
		}
		a := make([]any, len(v))
		for i := range v {
			a[i] = Copy(v[i])
		}
		return a
	}
	return v
}

// CopyMap returns a deep copy of an object.
func CopyMap(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		c[k] = Copy(v)
	}
	return c
}

// Equal reports whether two trees have the same values. An integer equals the float of
// the same value, for that is how a client may have written it.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !Equal(v, w) {
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
		switch b := b.(type) {
		case int64:
			return a == b
		case float64:
			return float64(a) == b
		}
		return false
	case float64:
		switch b := b.(type) {
		case float64:
			return a == b
		case int64:
			return a == float64(b)
		}
		return false
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case nil:
		return b == nil
	}
	return string(other(a)) == string(other(b))
}

// Map returns the object at a path of keys, or nil.
func Map(tree map[string]any, path ...string) map[string]any {
	for _, k := range path {
		tree, _ = tree[k].(map[string]any)
		if tree == nil {
			return nil
		}
	}
	return tree
}

// String returns the string at a path of keys, or "".
func String(tree map[string]any, path ...string) string {
	s, _ := Get(tree, path...).(string)
	return s
}

// Get returns the value at a path of keys, or nil.
func Get(tree map[string]any, path ...string) any {
	last := len(path) - 1
	if tree = Map(tree, path[:last]...); tree == nil {
		return nil
	}
	return tree[path[last]]
}
