package resource

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Converter brings objects of a type from one of its versions into another. A type without one has
// versions that differ by their apiVersion only.
//
// It is asked on the way in and out: what a client writes in one version is stored in the version
// marked as storage, and read in each. It should depend on nothing but the object, and lose
// nothing: what a version has no field for is best kept in an annotation. While the plugin is
// away, only those can read and write who use the version that is stored.
type Converter interface {
	// Convert makes of an object, whose apiVersion says what it is in, one in version to, such as
	// "v1", in place. The schema's defaults of the version that it comes from have been set. Of
	// its metadata only labels and annotations may change; apiVersion is set by the caller.
	Convert(ctx context.Context, object map[string]any, to string) error
}

// ConvertFunc converts several objects in place, each to version to. All or none are of use.
type ConvertFunc func(ctx context.Context, objects []map[string]any, to string) error

// Conversion returns how to convert objects by what Bundle.Hooks has returned, nil where their
// versions differ by apiVersion only. It is for hosts.
func Conversion(hooks any) ConvertFunc {
	switch h := hooks.(type) {
	case interface{ Conversion() ConvertFunc }: // another process's
		return h.Conversion()
	case Converter:
		return func(ctx context.Context, objects []map[string]any, to string) error {
			for _, o := range objects {
				if err := convertOne(ctx, h, o, to); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return nil
}

func convertOne(ctx context.Context, c Converter, object map[string]any, to string) error {
	u := unstructured.Unstructured{Object: object}
	gvk := u.GroupVersionKind()
	if gvk.Version == to {
		return nil
	}
	if err := c.Convert(ctx, object, to); err != nil {
		return fmt.Errorf("convert %s %q from %s to %s: %w", gvk.Kind, u.GetName(), gvk.Version, to, err)
	}
	if len(u.GetAnnotations()) == 0 {
		u.SetAnnotations(nil) // what is empty was left over
	}
	object["apiVersion"] = schema.GroupVersion{Group: gvk.Group, Version: to}.String()
	return nil
}

// convertFromWire answers a call for HOOK_CONVERT.
func convertFromWire(ctx context.Context, hooks any, c *pluginv1.HookCall, out *pluginv1.HookResult) error {
	convert := Conversion(hooks)
	if convert == nil {
		return fmt.Errorf("%s.%s has no hook %s", c.GetPlural(), c.GetGroup(), c.GetHook())
	}
	objects := make([]map[string]any, len(c.GetObjects()))
	for i, raw := range c.GetObjects() {
		var err error
		if objects[i], err = protocol.DecodeTree(raw); err != nil {
			return err
		}
		if objects[i] == nil {
			return errors.New("there is nothing to convert")
		}
	}
	if err := convert(ctx, objects, c.GetVersion()); err != nil {
		return err
	}
	for _, o := range objects {
		raw, err := protocol.EncodeTree(o)
		if err != nil {
			return err
		}
		out.Objects = append(out.Objects, raw)
	}
	return nil
}
