package remote

import (
	"context"
	"fmt"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// convertBatch is how many bytes of objects go in one call, where there are more than one.
const convertBatch = 1 << 20

// Conversion is what resource.Conversion looks for.
func (h *hooks) Conversion() resource.ConvertFunc {
	if !h.offers(pluginv1.Hook_HOOK_CONVERT) {
		return nil
	}
	return h.convert
}

func (h *hooks) convert(ctx context.Context, objects []map[string]any, to string) error {
	var batch [][]byte
	size, begin := 0, 0
	flush := func(end int) error {
		if begin == end {
			return nil
		}
		err := h.convertSome(ctx, objects[begin:end], batch, to)
		batch, size, begin = nil, 0, end
		return err
	}
	for i, o := range objects {
		raw, err := protocol.EncodeTreeLoosely(o)
		if err != nil {
			return err
		}
		if size > 0 && size+len(raw) > convertBatch {
			if err := flush(i); err != nil {
				return err
			}
		}
		batch = append(batch, raw)
		size += len(raw)
	}
	return flush(len(objects))
}

// convertSome converts objects, whose JSON is raw, in one call.
func (h *hooks) convertSome(ctx context.Context, objects []map[string]any, raw [][]byte, to string) error {
	res, err := h.call(ctx, pluginv1.Hook_HOOK_CONVERT, &resource.Request{}, func(c *pluginv1.HookCall) {
		c.Request, c.Objects, c.Version = nil, raw, to
	})
	if err != nil {
		return err
	}
	if len(res.GetObjects()) != len(objects) {
		return fmt.Errorf("plugin %s: %d objects came back of %d that were to be converted", h.bundle.name, len(res.GetObjects()), len(objects))
	}
	for i, data := range res.GetObjects() {
		tree, err := protocol.DecodeTree(data)
		if err != nil {
			return fmt.Errorf("plugin %s: %w", h.bundle.name, err)
		}
		replace(objects[i], tree)
	}
	return nil
}
