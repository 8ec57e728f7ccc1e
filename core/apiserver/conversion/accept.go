package conversion

import (
	"errors"
	"fmt"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// identityError says that an object is of another type or version than was asked for, metaError
// that its metadata can't be used.
type (
	identityError struct{ error }
	metaError     struct{ error }
)

// invalid says what is invalid about the object at an index, as upstream does: of a single
// one in fewer words.
func invalid(err error, index int, single bool) string {
	var identity identityError
	var meta metaError
	switch {
	case errors.As(err, &meta) && single:
		return "invalid metadata"
	case errors.As(err, &meta):
		return fmt.Sprintf("invalid metadata in object at index %d", index)
	case errors.As(err, &identity) && single:
		return fmt.Sprintf("invalid object at index %d", index)
	case single:
		return "invalid object"
	}
	return fmt.Sprintf("invalid converted object at index %d", index)
}

// accept takes a webhook's object: it must be the one that was sent, in the version that was
// asked for. Of its metadata only labels and annotations count.
func accept(original map[string]any, data []byte, to schema.GroupVersionKind) (map[string]any, error) {
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return acceptTree(original, u.Object, to)
}

// acceptTree is accept for what is decoded. The tree is the caller's own.
func acceptTree(original, tree map[string]any, to schema.GroupVersionKind) (map[string]any, error) {
	u := unstructured.Unstructured{Object: tree}
	if got := u.GroupVersionKind().GroupVersion(); got != to.GroupVersion() {
		return nil, identityError{fmt.Errorf("invalid groupVersion (expected %v, received %v)", to.GroupVersion(), got)}
	}
	if want, got := text(original, "kind"), u.GetKind(); want != got {
		return nil, identityError{fmt.Errorf("invalid kind (expected %v, received %v)", want, got)}
	}
	in := unstructured.Unstructured{Object: original}
	for _, f := range [...]struct{ what, want, got string }{
		{"name", in.GetName(), u.GetName()},
		{"namespace", in.GetNamespace(), u.GetNamespace()},
		{"UID", string(in.GetUID()), string(u.GetUID())},
	} {
		if f.want != f.got {
			return nil, fmt.Errorf("must have the same %s: %v != %v", f.what, f.want, f.got)
		}
	}
	if err := restoreMeta(original, u.Object); err != nil {
		return nil, metaError{err}
	}
	return u.Object, nil
}

// restoreMeta gives a converted object the metadata it had, but for labels and annotations.
func restoreMeta(original, converted map[string]any) error {
	answered, found := converted["metadata"]
	if !found {
		return errors.New("missing metadata in converted object")
	}
	said, ok := answered.(map[string]any)
	if !ok {
		return fmt.Errorf("invalid metadata of type %T in converted object", answered)
	}
	had, _ := original["metadata"].(map[string]any)
	meta := make(map[string]any, len(had))
	for k, v := range had {
		meta[k] = v
	}
	converted["metadata"] = meta
	for _, name := range [...]string{"labels", "annotations"} {
		value := said[name]
		if value == nil {
			delete(meta, name)
			continue
		}
		next, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("invalid metadata.%s of type %T in converted object", name, value)
		}
		old, _ := meta[name].(map[string]any)
		if err := checkStrings(name, old, next); err != nil {
			return err
		}
		meta[name] = next
	}
	return nil
}

// checkStrings checks labels or annotations where they are others than before.
func checkStrings(name string, old, next map[string]any) error {
	changed := len(old) != len(next)
	all := make(map[string]string, len(next))
	for k, v := range next {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("metadata.%s[%s] must be a string, but is %T in converted object", name, k, v)
		}
		all[k] = s
		changed = changed || old[k] != v
	}
	if !changed {
		return nil
	}
	if name == "labels" {
		return metav1validation.ValidateLabels(all, field.NewPath("metadata", "labels")).ToAggregate()
	}
	return apivalidation.ValidateAnnotations(all, field.NewPath("metadata", "annotation")).ToAggregate()
}
