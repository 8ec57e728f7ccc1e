package policy

import (
	"maps"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/sdk/admission"
)

// memory is what the first round of mutations leaves to the second: which invocations ask to
// be repeated, and whether there is a reason to.
type memory struct {
	// invoked may be repeated, again are to be.
	invoked, again map[invocationKey]bool
	// output is the object as policies have left it, where an invocation may be repeated.
	output map[string]any
}

type memoryKey struct{}

// invocationKey names an invocation.
type invocationKey struct{ policy, binding, paramNamespace, paramName string }

func (i *invocation) key() invocationKey {
	meta, _ := i.param["metadata"].(map[string]any)
	k := invocationKey{policy: i.policy.name, binding: i.binding.name}
	k.paramNamespace, _ = meta["namespace"].(string)
	k.paramName, _ = meta["name"].(string)
	return k
}

func memoryOf(r *admission.Request) *memory {
	if m, ok := r.Memory[memoryKey{}].(*memory); ok {
		return m
	}
	m := &memory{invoked: map[invocationKey]bool{}, again: map[invocationKey]bool{}}
	if r.Memory != nil {
		r.Memory[memoryKey{}] = m
	}
	return m
}

// begin looks in the second round whether others have changed the object after the first.
func (m *memory) begin(r *admission.Request) {
	if r.Round > 0 && len(m.invoked) > 0 && !apiequality.Semantic.DeepEqual(m.output, r.Object) {
		m.changed()
	}
}

// changed notes that the object has changed: all that were invoked before it and may be
// repeated are to be.
func (m *memory) changed() {
	maps.Copy(m.again, m.invoked)
	clear(m.invoked)
}

// end closes a round. Where the round has changed the object, all that may be repeated are to
// be, the last one too.
func (m *memory) end(r *admission.Request, changed bool) {
	if changed {
		m.changed()
	}
	if len(m.invoked) > 0 {
		m.output = runtime.DeepCopyJSON(r.Object)
	}
}
