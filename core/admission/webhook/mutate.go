package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/sdk/admission"
)

type mutator struct{ *Webhooks }

var (
	_ admission.Reinvoker = mutator{}
	_ admission.Idler     = mutator{}
)

// Idle implements admission.Idler.
func (m mutator) Idle() bool { return m.mutating.idle() }

// Reinvokes implements admission.Reinvoker.
func (m mutator) Reinvokes() bool { return true }

// memory is what the second round has to know of the first.
type memory struct {
	// called are the webhooks that want to be called again where the object changes after
	// them; due are those for which it has.
	called, due map[*hook]bool
	// last is the object as the webhooks have left it.
	last map[string]any
}

type memoryKey struct{}

func memoryOf(r *admission.Request) *memory {
	if known, ok := r.Memory[memoryKey{}].(*memory); ok {
		return known
	}
	fresh := &memory{called: map[*hook]bool{}, due: map[*hook]bool{}}
	if r.Memory != nil {
		r.Memory[memoryKey{}] = fresh
	}
	return fresh
}

// changed makes the webhooks due that have been called before a change.
func (m *memory) changed() {
	for h := range m.called {
		m.due[h] = true
	}
	clear(m.called)
}

// Mutate implements admission.Mutator. Webhooks are called one after the other, each with
// what the ones before it have left.
func (m mutator) Mutate(ctx context.Context, r *admission.Request) (changed bool, err error) {
	hooks, err := m.mutating.current(ctx, r)
	if err != nil || len(hooks) == 0 {
		return false, err
	}
	seen := memoryOf(r)
	if r.Round > 0 {
		if len(seen.called)+len(seen.due) == 0 {
			return false, nil
		}
		if !apiequality.Semantic.DeepEqual(seen.last, r.Object) {
			// Others, the type's own hooks among them, have changed it since.
			seen.changed()
		}
	}
	defer func() {
		if len(seen.called)+len(seen.due) > 0 {
			seen.last = runtime.DeepCopyJSON(r.Object)
		}
	}()
	a := &asking{Webhooks: m.Webhooks, request: r}
	for i, h := range hooks {
		target, ok, err := a.wants(ctx, h)
		if err != nil {
			return changed, err
		}
		if !ok || r.Round > 0 && !seen.due[h] {
			// Nobody is called for the first time in the second round.
			continue
		}
		did, err := m.invoke(ctx, h, r, target, i)
		if did {
			changed = true
			seen.changed()
		}
		if h.reinvocable {
			seen.called[h] = true
		}
		switch {
		case err == nil:
		case m.open(h, err):
			r.Annotate(fmt.Sprintf("failed-open.mutation.webhook.admission.k8s.io/round_%d_index_%d", r.Round, i), h.Name)
			if ctx.Err() != nil {
				return changed, errTimeout()
			}
		default:
			return changed, refusal(err)
		}
	}
	return changed, nil
}

// invoke calls one webhook and applies its patch.
func (m mutator) invoke(ctx context.Context, h *hook, r *admission.Request, target match.Target, index int) (changed bool, err error) {
	q, err := ask(r, target)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	start := time.Now()
	defer func() { m.metrics.called(h, r, time.Since(start), err) }()
	a, err := m.call(ctx, h, r, q)
	a.tell(h, r)
	var patch jsonpatch.Patch
	if err == nil && len(a.patch) > 0 {
		if patch, err = jsonpatch.DecodePatch(a.patch); err != nil {
			err = &callError{h.Name, fmt.Errorf("received undecodable patch in webhook response: %w", err), http.StatusServiceUnavailable}
		}
	}
	if err == nil && len(patch) > 0 {
		changed, err = apply(ctx, h, r, q, patch)
	}
	where := fmt.Sprintf("webhook.admission.k8s.io/round_%d_index_%d", r.Round, index)
	if err == nil && len(patch) > 0 && audit.FromContext(ctx).WantsRequest() {
		annotate(r, "patch."+where, patchAnnotation{h.configuration, h.Name, patch, "JSONPatch"})
	}
	annotate(r, "mutation."+where, mutationAnnotation{h.configuration, h.Name, changed})
	return changed, err
}

type mutationAnnotation struct {
	Configuration string `json:"configuration"`
	Webhook       string `json:"webhook"`
	Mutated       bool   `json:"mutated"`
}

type patchAnnotation struct {
	Configuration string          `json:"configuration"`
	Webhook       string          `json:"webhook"`
	Patch         jsonpatch.Patch `json:"patch,omitempty"`
	PatchType     string          `json:"patchType,omitempty"`
}

func annotate(r *admission.Request, key string, v any) {
	if text, err := json.Marshal(v); err == nil {
		r.Annotate(key, string(text))
	}
}

// apply changes the request's object by a patch of the version that the webhook was shown.
func apply(ctx context.Context, h *hook, r *admission.Request, q *question, patch jsonpatch.Patch) (changed bool, err error) {
	if q.object == nil {
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", h.Name))
	}
	out, err := applyPatch(patch, q.object)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	var tree map[string]any
	if err := utiljson.Unmarshal(out, &tree); err != nil {
		return false, apierrors.NewInternalError(fmt.Errorf("the object as patched by admission webhook %q: %w", h.Name, err))
	}
	if tree["apiVersion"] != q.objectTree["apiVersion"] || tree["kind"] != q.objectTree["kind"] {
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to change apiVersion or kind of the object", h.Name))
	}
	if meta, ok := tree["metadata"].(map[string]any); ok {
		delete(meta, "managedFields") // they are the server's
	}
	if err := r.Decode(ctx, tree); err != nil {
		return false, err //nolint:wrapcheck // it is a status
	}
	if apiequality.Semantic.DeepEqual(q.objectTree, tree) {
		return false, nil
	}
	if q.target.Kind != r.Kind {
		if tree, err = r.Convert(tree, r.Kind); err != nil {
			return false, apierrors.NewInternalError(fmt.Errorf("convert what admission webhook %q has made: %w", h.Name, err))
		}
	}
	r.Object = tree
	return true, nil
}

// applyPatch guards against patches that the library does not expect.
func applyPatch(p jsonpatch.Patch, data []byte) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the patch can't be applied: %v", v)
		}
	}()
	return p.Apply(data) //nolint:wrapcheck // upstream's message
}
