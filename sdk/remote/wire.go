package remote

import (
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/schema"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// definitionsFromWire reads what a plugin defines. Schemas are parsed when they
// are asked for. Source of each definition becomes "plugin:NAME".
func definitionsFromWire(plugin string, r *pluginv1.DefinitionsResponse) ([]*crd.Definition, error) {
	components := &lazyComponents{raw: r.GetComponents()}
	root := &schema.Components{Get: components.get}
	out := make([]*crd.Definition, 0, len(r.GetDefinitions()))
	for i, wire := range r.GetDefinitions() {
		d := &crd.Definition{}
		if err := json.Unmarshal(wire.GetDefinition(), d); err != nil {
			return nil, fmt.Errorf("plugin %s: definition %d: %w", plugin, i, err)
		}
		d.Source = "plugin:" + plugin
		for j := range d.Versions {
			raw, ok := wire.GetSchemas()[d.Versions[j].Name]
			if !ok {
				continue
			}
			d.Versions[j].Schema = func() (*schema.Schema, error) {
				s := &schema.Schema{}
				if err := json.Unmarshal(raw, s); err != nil {
					return nil, err
				}
				if len(components.raw) > 0 {
					s.Root = root
				}
				return s, nil
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// requestToWire converts a write. Where the other end compares what it has made of the object
// with what came, the object's keys are in order.
func requestToWire(r *resource.Request, compared bool) (*pluginv1.HookRequest, error) {
	encode := protocol.EncodeTreeLoosely
	if compared {
		encode = protocol.EncodeTree
	}
	object, err := encode(r.Object)
	if err != nil {
		return nil, err
	}
	old, err := protocol.EncodeTreeLoosely(r.Old)
	if err != nil {
		return nil, err
	}
	return &pluginv1.HookRequest{
		Operation:     string(r.Operation),
		ResourceGroup: r.Resource.Group, ResourceVersion: r.Resource.Version, Resource: r.Resource.Resource,
		KindGroup: r.Kind.Group, KindVersion: r.Kind.Version, Kind: r.Kind.Kind,
		Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name, DryRun: r.DryRun,
		User: userToWire(r.User), Object: object, Old: old,
	}, nil
}

func userToWire(u resource.User) *pluginv1.User {
	out := &pluginv1.User{Name: u.Name, Uid: u.UID, Groups: u.Groups}
	if len(u.Extra) > 0 {
		out.Extra = make(map[string]*pluginv1.Values, len(u.Extra))
		for k, v := range u.Extra {
			out.Extra[k] = &pluginv1.Values{Values: v}
		}
	}
	return out
}

// fieldErrorsFromWire converts validation errors.
func fieldErrorsFromWire(list []*pluginv1.FieldError) field.ErrorList {
	var out field.ErrorList
	for _, e := range list {
		var value any
		if kjson.UnmarshalCaseSensitivePreserveInts(e.GetBadValue(), &value) != nil {
			value = string(e.GetBadValue())
		}
		out = append(out, &field.Error{
			Type: field.ErrorType(e.GetType()), Field: e.GetField(), BadValue: value,
			Detail: e.GetDetail(), Origin: e.GetOrigin(),
		})
	}
	return out
}

// errorFromWire returns a hook's error, naming the plugin where it is not a Status.
func errorFromWire(plugin string, r *pluginv1.HookResult) error {
	if len(r.GetStatus()) > 0 {
		var s metav1.Status
		if err := json.Unmarshal(r.GetStatus(), &s); err != nil {
			return fmt.Errorf("plugin %s: decode status: %w", plugin, err)
		}
		return &apierrors.StatusError{ErrStatus: s}
	}
	if r.GetError() != "" {
		return fmt.Errorf("plugin %s: %s", plugin, r.GetError())
	}
	return nil
}
