package history

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"
)

// HashLabel is the label with the hash of a revision's data.
const HashLabel = "controller.kubernetes.io/hash"

// New returns a revision of an owner's template that has neither name nor hash; see Namer.
func New(owner metav1.Object, kind schema.GroupVersionKind, template *v1.PodTemplateSpec, number int64) (*appsv1.ControllerRevision, error) {
	data, err := patch(template)
	if err != nil {
		return nil, err
	}
	labels := maps.Clone(template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.GetNamespace(), Labels: labels, Annotations: maps.Clone(owner.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: number,
	}, nil
}

// patch is the strategic merge patch that would bring a template back, which is what
// clients (kubectl rollout undo) expect to find in a revision.
func patch(template *v1.PodTemplateSpec) ([]byte, error) {
	typed, err := json.Marshal(template)
	if err != nil {
		return nil, fmt.Errorf("write down the template: %w", err)
	}
	var tree map[string]any
	// Integers must not become floats, which are written in another way.
	if err := utiljson.Unmarshal(typed, &tree); err != nil {
		return nil, fmt.Errorf("write down the template: %w", err)
	}
	tree["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": tree}})
}

// Template returns the template that a revision holds.
func Template(r *appsv1.ControllerRevision) (*v1.PodTemplateSpec, error) {
	var data struct {
		Spec struct {
			Template v1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("ControllerRevision %s/%s holds no template: %w", r.Namespace, r.Name, err)
	}
	return &data.Spec.Template, nil
}

// Same reports whether two revisions hold the same data, however it is written.
func Same(a, b *appsv1.ControllerRevision) bool {
	if bytes.Equal(a.Data.Raw, b.Data.Raw) {
		return true
	}
	var x, y any
	return utiljson.Unmarshal(a.Data.Raw, &x) == nil && utiljson.Unmarshal(b.Data.Raw, &y) == nil && reflect.DeepEqual(x, y)
}

// Sort orders revisions by number, the oldest first where numbers are equal.
func Sort(list []*appsv1.ControllerRevision) {
	slices.SortStableFunc(list, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

// Next returns the number of the revision after those of a sorted list.
func Next(sorted []*appsv1.ControllerRevision) int64 {
	if len(sorted) == 0 {
		return 1
	}
	return sorted[len(sorted)-1].Revision + 1
}

// DataHash names a revision by its data; collisions makes another name of the same data.
func DataHash(r *appsv1.ControllerRevision, collisions *int32) string {
	h := fnv.New32()
	_, _ = h.Write(r.Data.Raw)
	if collisions != nil {
		_, _ = h.Write([]byte(strconv.FormatInt(int64(*collisions), 10)))
	}
	return encode(h.Sum32())
}

// TemplateHash names a template; collisions makes another name of the same template.
func TemplateHash(t *v1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, dump.ForHash(*t))
	if collisions != nil {
		var b [8]byte
		for i := range 4 {
			b[i] = byte(uint32(*collisions) >> (8 * i))
		}
		_, _ = h.Write(b[:])
	}
	return encode(h.Sum32())
}

// encode writes a hash without vowels and digits that would make words.
func encode(sum uint32) string {
	return rand.SafeEncodeString(strconv.FormatUint(uint64(sum), 10))
}

// nameOf is the name of an owner's revision with a hash.
func nameOf(owner, hash string) string {
	const longest = 223
	if len(owner) > longest {
		owner = owner[:longest]
	}
	return owner + "-" + hash
}
