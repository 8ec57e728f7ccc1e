package remote

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// cellsTimeout bounds a row of a table: a list is not held up for a plugin.
const cellsTimeout = time.Second

// hooks are those of one type in a plugin process. Hooks that the type does not have are
// not called, and let everything pass.
type hooks struct {
	bundle     *Bundle
	definition *crd.Definition
	has        []pluginv1.Hook
}

var (
	_ resource.Defaulter    = (*hooks)(nil)
	_ resource.Preparer     = (*hooks)(nil)
	_ resource.Validator    = (*hooks)(nil)
	_ resource.Deleter      = (*hooks)(nil)
	_ resource.Subresourcer = (*subresourceHooks)(nil)
	_ resource.Virtual      = (*virtualHooks)(nil)
	_ resource.Printer      = (*printerHooks)(nil)
)

// newHooks returns a value with the hooks that a type has, or nil for none.
func newHooks(b *Bundle, d *crd.Definition, has []pluginv1.Hook) any {
	if len(has) == 0 {
		return nil
	}
	h := &hooks{bundle: b, definition: d, has: has}
	sub, virtual, printer := subresourceHooks{h}, virtualHooks{h}, printerHooks{h}
	// Whether a value has one of these three matters to whoever asserts it.
	switch [3]bool{
		h.offers(pluginv1.Hook_HOOK_SUBRESOURCE), h.offers(pluginv1.Hook_HOOK_VIRTUAL), h.offers(pluginv1.Hook_HOOK_CELLS),
	} {
	case [3]bool{true, false, false}:
		return &struct {
			*hooks
			subresourceHooks
		}{h, sub}
	case [3]bool{false, true, false}:
		return &struct {
			*hooks
			virtualHooks
		}{h, virtual}
	case [3]bool{false, false, true}:
		return &struct {
			*hooks
			printerHooks
		}{h, printer}
	case [3]bool{true, true, false}:
		return &struct {
			*hooks
			subresourceHooks
			virtualHooks
		}{h, sub, virtual}
	case [3]bool{true, false, true}:
		return &struct {
			*hooks
			subresourceHooks
			printerHooks
		}{h, sub, printer}
	case [3]bool{false, true, true}:
		return &struct {
			*hooks
			virtualHooks
			printerHooks
		}{h, virtual, printer}
	case [3]bool{true, true, true}:
		return &struct {
			*hooks
			subresourceHooks
			virtualHooks
			printerHooks
		}{h, sub, virtual, printer}
	default:
		return h
	}
}

func (h *hooks) offers(k pluginv1.Hook) bool { return slices.Contains(h.has, k) }

func (h *hooks) call(ctx context.Context, k pluginv1.Hook, r *resource.Request, tweak func(*pluginv1.HookCall)) (*pluginv1.HookResult, error) {
	return h.bundle.call(ctx, h.definition, k, r, tweak)
}

// Default implements resource.Defaulter.
func (h *hooks) Default(ctx context.Context, r *resource.Request) error {
	if !h.offers(pluginv1.Hook_HOOK_DEFAULT) {
		return nil
	}
	_, err := h.call(ctx, pluginv1.Hook_HOOK_DEFAULT, r, nil)
	return err
}

// Prepare implements resource.Preparer. A type that is only validated still needs its
// plugin: Validate can't say 503, so it is said here.
func (h *hooks) Prepare(ctx context.Context, r *resource.Request) error {
	if !h.offers(pluginv1.Hook_HOOK_PREPARE) {
		if h.offers(pluginv1.Hook_HOOK_VALIDATE) && h.bundle.stream.Load() == nil {
			return h.bundle.unavailable("is not running")
		}
		return nil
	}
	_, err := h.call(ctx, pluginv1.Hook_HOOK_PREPARE, r, nil)
	return err
}

// Validate implements resource.Validator. Where the plugin dies during the call the
// request is refused with an internal error in the name of the type, never let through.
func (h *hooks) Validate(ctx context.Context, r *resource.Request) field.ErrorList {
	if !h.offers(pluginv1.Hook_HOOK_VALIDATE) {
		return nil
	}
	res, err := h.call(ctx, pluginv1.Hook_HOOK_VALIDATE, r, nil)
	if err != nil {
		return field.ErrorList{{
			Type: field.ErrorTypeInternal, Field: h.definition.GroupResource().String(), Detail: err.Error(),
		}}
	}
	return fieldErrorsFromWire(res.GetFieldErrors())
}

// GracePeriod implements resource.Deleter.
func (h *hooks) GracePeriod(ctx context.Context, r *resource.Request, asked *int64) (int64, error) {
	if !h.offers(pluginv1.Hook_HOOK_GRACE_PERIOD) {
		return 0, nil
	}
	res, err := h.call(ctx, pluginv1.Hook_HOOK_GRACE_PERIOD, r, func(c *pluginv1.HookCall) { c.GracePeriod = asked })
	if err != nil {
		return 0, err
	}
	return res.GetGracePeriod(), nil
}

type subresourceHooks struct{ h *hooks }

// CreateSubresource implements resource.Subresourcer.
func (s subresourceHooks) CreateSubresource(ctx context.Context, r *resource.Request, parent map[string]any) (resource.SubresourceResult, error) {
	raw, err := protocol.EncodeTree(parent)
	if err != nil {
		return resource.SubresourceResult{}, err
	}
	res, err := s.h.call(ctx, pluginv1.Hook_HOOK_SUBRESOURCE, r, func(c *pluginv1.HookCall) { c.Parent = raw })
	if err != nil {
		return resource.SubresourceResult{}, err
	}
	out := resource.SubresourceResult{Delete: res.GetDelete()}
	if out.Response, err = protocol.DecodeTree(res.GetResponse()); err != nil {
		return resource.SubresourceResult{}, err
	}
	if out.DeleteOptions, err = protocol.DecodeTree(res.GetDeleteOptions()); err != nil {
		return resource.SubresourceResult{}, err
	}
	if len(res.GetParent()) > 0 {
		tree, err := protocol.DecodeTree(res.GetParent())
		if err != nil {
			return resource.SubresourceResult{}, err
		}
		replace(parent, tree)
	}
	return out, nil
}

type virtualHooks struct{ h *hooks }

// CreateVirtual implements resource.Virtual.
func (v virtualHooks) CreateVirtual(ctx context.Context, r *resource.Request) (map[string]any, error) {
	res, err := v.h.call(ctx, pluginv1.Hook_HOOK_VIRTUAL, r, nil)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeTree(res.GetResponse())
}

type printerHooks struct{ h *hooks }

// Cells implements resource.Printer. Where the plugin does not answer at once the cells
// are empty: a table is for people, and better incomplete than late.
func (p printerHooks) Cells(object map[string]any) []any {
	ctx, cancel := context.WithTimeout(context.Background(), cellsTimeout)
	defer cancel()
	res, err := p.h.call(ctx, pluginv1.Hook_HOOK_CELLS, &resource.Request{Object: object}, nil)
	if err == nil {
		var cells []any
		if json.Unmarshal(res.GetCells(), &cells) == nil {
			return cells
		}
	}
	if v := p.h.definition.StorageVersion(); v != nil {
		return make([]any, len(v.Columns))
	}
	return nil
}
