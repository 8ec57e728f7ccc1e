package protocol

import (
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// EncodeTree makes the JSON of an object; nil gives nothing.
func EncodeTree(tree map[string]any) ([]byte, error) {
	if tree == nil {
		return nil, nil
	}
	b, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	return b, nil
}

// DecodeTree is the inverse of EncodeTree. Integers are int64.
func DecodeTree(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(b, &tree); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return tree, nil
}

// RequestToWire converts a write.
func RequestToWire(r *resource.Request) (*pluginv1.HookRequest, error) {
	object, err := EncodeTree(r.Object)
	if err != nil {
		return nil, err
	}
	old, err := EncodeTree(r.Old)
	if err != nil {
		return nil, err
	}
	user := &pluginv1.User{Name: r.User.Name, Uid: r.User.UID, Groups: r.User.Groups}
	if len(r.User.Extra) > 0 {
		user.Extra = make(map[string]*pluginv1.Values, len(r.User.Extra))
		for k, v := range r.User.Extra {
			user.Extra[k] = &pluginv1.Values{Values: v}
		}
	}
	return &pluginv1.HookRequest{
		Operation:     string(r.Operation),
		ResourceGroup: r.Resource.Group, ResourceVersion: r.Resource.Version, Resource: r.Resource.Resource,
		KindGroup: r.Kind.Group, KindVersion: r.Kind.Version, Kind: r.Kind.Kind,
		Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name, DryRun: r.DryRun,
		User: user, Object: object, Old: old,
	}, nil
}

// RequestFromWire converts a write; the caller adds a Reader.
func RequestFromWire(r *pluginv1.HookRequest) (*resource.Request, error) {
	object, err := DecodeTree(r.GetObject())
	if err != nil {
		return nil, err
	}
	old, err := DecodeTree(r.GetOld())
	if err != nil {
		return nil, err
	}
	u := r.GetUser()
	user := resource.User{Name: u.GetName(), UID: u.GetUid(), Groups: u.GetGroups()}
	if extra := u.GetExtra(); len(extra) > 0 {
		user.Extra = make(map[string][]string, len(extra))
		for k, v := range extra {
			user.Extra[k] = v.GetValues()
		}
	}
	return &resource.Request{
		Operation: resource.Operation(r.GetOperation()),
		Resource: schema.GroupVersionResource{
			Group: r.GetResourceGroup(), Version: r.GetResourceVersion(), Resource: r.GetResource(),
		},
		Kind: schema.GroupVersionKind{
			Group: r.GetKindGroup(), Version: r.GetKindVersion(), Kind: r.GetKind(),
		},
		Subresource: r.GetSubresource(), Namespace: r.GetNamespace(), Name: r.GetName(),
		DryRun: r.GetDryRun(), User: user, Object: object, Old: old,
	}, nil
}

// FieldErrorsToWire converts validation errors.
func FieldErrorsToWire(list field.ErrorList) []*pluginv1.FieldError {
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

// FieldErrorsFromWire converts validation errors.
func FieldErrorsFromWire(list []*pluginv1.FieldError) field.ErrorList {
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

// ErrorToWire puts a hook's error into its result: as a Status where it carries one.
func ErrorToWire(err error, into *pluginv1.HookResult) {
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

// ErrorFromWire returns a hook's error, naming the plugin where it is not a Status.
func ErrorFromWire(plugin string, r *pluginv1.HookResult) error {
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
