package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// definitionsToWire converts a bundle's definitions together with the schemas they refer
// to and the hooks they have.
func definitionsToWire(b Bundle) (*pluginv1.DefinitionsResponse, error) {
	defs, err := b.Definitions()
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	out := &pluginv1.DefinitionsResponse{Components: map[string][]byte{}}
	for _, d := range defs {
		wire, err := definitionToWire(d, out.Components)
		if err != nil {
			return nil, fmt.Errorf("definition of %s: %w", d.GroupResource(), err)
		}
		wire.Hooks = hooksOf(b.Hooks(d.GroupResource()))
		out.Definitions = append(out.Definitions, wire)
	}
	return out, nil
}

func definitionToWire(d *crd.Definition, components map[string][]byte) (*pluginv1.Definition, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	out := &pluginv1.Definition{Definition: raw, Schemas: map[string][]byte{}}
	for i := range d.Versions {
		v := &d.Versions[i]
		if v.Schema == nil {
			continue
		}
		s, err := v.Schema()
		if err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
		if out.Schemas[v.Name], err = json.Marshal(s); err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
		if s.Root == nil || s.Root.Get == nil {
			continue
		}
		if err := gather(s, s.Root.Get, components); err != nil {
			return nil, fmt.Errorf("schema of version %s: %w", v.Name, err)
		}
	}
	return out, nil
}

// gather adds to into all schemas that s refers to by name.
func gather(s *schema.Schema, get func(string) *schema.Schema, into map[string][]byte) error {
	if s == nil {
		return nil
	}
	if s.Ref != "" {
		if _, done := into[s.Ref]; done {
			return nil
		}
		target := get(s.Ref)
		if target == nil {
			return fmt.Errorf("$ref %q names no schema", s.Ref)
		}
		raw, err := json.Marshal(target)
		if err != nil {
			return err
		}
		into[s.Ref] = raw
		return gather(target, get, into)
	}
	children := []*schema.Schema{s.Items, s.AdditionalProperties, s.Not}
	children = append(children, s.AllOf...)
	children = append(children, s.AnyOf...)
	children = append(children, s.OneOf...)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		children = append(children, s.Properties[name])
	}
	for _, c := range children {
		if err := gather(c, get, into); err != nil {
			return err
		}
	}
	return nil
}

// hooksOf lists the hooks that a value returned by Bundle.Hooks implements.
func hooksOf(hooks any) []pluginv1.Hook {
	var out []pluginv1.Hook
	add := func(has bool, h pluginv1.Hook) {
		if has {
			out = append(out, h)
		}
	}
	_, has := hooks.(Defaulter)
	add(has, pluginv1.Hook_HOOK_DEFAULT)
	_, has = hooks.(Preparer)
	add(has, pluginv1.Hook_HOOK_PREPARE)
	_, has = hooks.(Validator)
	add(has, pluginv1.Hook_HOOK_VALIDATE)
	_, has = hooks.(Deleter)
	add(has, pluginv1.Hook_HOOK_GRACE_PERIOD)
	_, has = hooks.(Subresourcer)
	add(has, pluginv1.Hook_HOOK_SUBRESOURCE)
	_, has = hooks.(Virtual)
	add(has, pluginv1.Hook_HOOK_VIRTUAL)
	_, has = hooks.(Printer)
	add(has, pluginv1.Hook_HOOK_CELLS)
	add(Conversion(hooks) != nil, pluginv1.Hook_HOOK_CONVERT)
	return out
}

// RequestFromWire converts a write; the caller adds a Reader. It is for the ends of protocols.
func RequestFromWire(r *pluginv1.HookRequest) (*Request, error) {
	object, err := protocol.DecodeTree(r.GetObject())
	if err != nil {
		return nil, err
	}
	old, err := protocol.DecodeTree(r.GetOld())
	if err != nil {
		return nil, err
	}
	return &Request{
		Operation: Operation(r.GetOperation()),
		Resource: runtimeschema.GroupVersionResource{
			Group: r.GetResourceGroup(), Version: r.GetResourceVersion(), Resource: r.GetResource(),
		},
		Kind: runtimeschema.GroupVersionKind{
			Group: r.GetKindGroup(), Version: r.GetKindVersion(), Kind: r.GetKind(),
		},
		Subresource: r.GetSubresource(), Namespace: r.GetNamespace(), Name: r.GetName(),
		DryRun: r.GetDryRun(), User: UserFromWire(r.GetUser()), Object: object, Old: old,
	}, nil
}

// UserFromWire converts a user; it is for the ends of protocols.
func UserFromWire(u *pluginv1.User) User {
	user := User{Name: u.GetName(), UID: u.GetUid(), Groups: u.GetGroups()}
	if extra := u.GetExtra(); len(extra) > 0 {
		user.Extra = make(map[string][]string, len(extra))
		for k, v := range extra {
			user.Extra[k] = v.GetValues()
		}
	}
	return user
}

// fieldErrorsToWire converts validation errors.
func fieldErrorsToWire(list field.ErrorList) []*pluginv1.FieldError {
	out := make([]*pluginv1.FieldError, 0, len(list))
	for _, e := range list {
		value, err := json.Marshal(e.BadValue)
		if err != nil {
			value, _ = json.Marshal(fmt.Sprint(e.BadValue))
		}
		out = append(out, &pluginv1.FieldError{
			Type: string(e.Type), Field: e.Field, BadValue: value, Detail: e.Detail, Origin: e.Origin,
		})
	}
	return out
}

// errorToWire puts a hook's error into its result: as a Status where it carries one.
func errorToWire(err error, into *pluginv1.HookResult) {
	if err == nil {
		return
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		s := status.Status()
		if b, merr := json.Marshal(&s); merr == nil {
			into.Status = b
			return
		}
	}
	into.Error = err.Error()
}
