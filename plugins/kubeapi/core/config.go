package core

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// maxData is the most bytes that a config map or a secret may have in its values.
const maxData = 1 << 20

const frozen = "field is immutable when `immutable` is set"

func validateConfigMap(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	data, binary := tree.Map(r.Object, "data"), tree.Map(r.Object, "binaryData")
	size := 0
	for key, v := range data {
		at := field.NewPath("data").Key(key)
		errs = append(errs, check.Invalid(at, key, validation.IsConfigMapKey(key))...)
		if _, both := binary[key]; both {
			errs = append(errs, field.Invalid(at, key, "duplicate of key present in binaryData"))
		}
		s, _ := v.(string)
		size += len(s)
	}
	for key, v := range binary {
		errs = append(errs, check.Invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		size += decodedSize(v)
	}
	if size > maxData {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxData))
	}
	if r.Operation == resource.Update {
		errs = append(errs, immutable(r, "data", "binaryData")...)
	}
	return errs
}

// immutable checks that an object that says it is immutable stays as it is.
func immutable(r *resource.Request, keys ...string) field.ErrorList {
	if !tree.Bool(r.Old, "immutable") {
		return nil
	}
	var errs field.ErrorList
	if !tree.Bool(r.Object, "immutable") {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), frozen))
	}
	for _, key := range keys {
		if !tree.Equal(r.Object[key], r.Old[key]) {
			errs = append(errs, field.Forbidden(field.NewPath(key), frozen))
		}
	}
	return errs
}

func decodedSize(v any) int {
	s, _ := v.(string)
	n := base64.StdEncoding.DecodedLen(len(s))
	for i := len(s) - 1; i >= 0 && s[i] == '='; i-- {
		n--
	}
	return n
}

// defaultSecret moves stringData to data.
func defaultSecret(r *resource.Request) {
	if tree.Str(r.Object, "type") == "" {
		r.Object["type"] = "Opaque"
	}
	plain := tree.Map(r.Object, "stringData")
	if len(plain) > 0 {
		data := tree.Ensure(r.Object, "data")
		for key, v := range plain {
			if s, ok := v.(string); ok {
				data[key] = base64.StdEncoding.EncodeToString([]byte(s))
			}
		}
	}
	delete(r.Object, "stringData")
}

func validateSecret(_ context.Context, r *resource.Request) field.ErrorList {
	errs := check.Name(r.Object, check.DNSSubdomain)
	path := field.NewPath("data")
	data := tree.Map(r.Object, "data")
	size := 0
	for key, v := range data {
		errs = append(errs, check.Invalid(path.Key(key), key, validation.IsConfigMapKey(key))...)
		size += decodedSize(v)
	}
	if size > maxData {
		errs = append(errs, field.TooLong(path, "", maxData))
	}
	errs = append(errs, secretOfType(r.Object, data, path)...)
	if r.Operation == resource.Update {
		errs = append(errs, check.Unchanged(field.NewPath("type"), r.Object["type"], r.Old["type"])...)
		errs = append(errs, immutable(r, "data")...)
	}
	return errs
}

// secretOfType checks that a secret has what its type promises.
func secretOfType(secret, data map[string]any, path *field.Path) field.ErrorList {
	missing := func(keys ...string) field.ErrorList {
		var errs field.ErrorList
		for _, key := range keys {
			if _, ok := data[key]; !ok {
				errs = append(errs, field.Required(path.Key(key), ""))
			}
		}
		return errs
	}
	jsonAt := func(key string) field.ErrorList {
		s, ok := data[key].(string)
		if !ok {
			return missing(key)
		}
		raw, err := base64.StdEncoding.DecodeString(s)
		if err == nil {
			err = json.Unmarshal(raw, &map[string]any{})
		}
		if err != nil {
			return field.ErrorList{field.Invalid(path.Key(key), "<secret contents redacted>", err.Error())}
		}
		return nil
	}
	const account = "kubernetes.io/service-account.name"
	switch tree.Str(secret, "type") {
	case "kubernetes.io/service-account-token":
		if tree.Str(tree.In(secret, "metadata", "annotations"), account) == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(account), "")}
		}
	case "kubernetes.io/dockercfg":
		return jsonAt(".dockercfg")
	case "kubernetes.io/dockerconfigjson":
		return jsonAt(".dockerconfigjson")
	case "kubernetes.io/basic-auth":
		if errs := missing("username", "password"); len(errs) == 2 {
			return errs
		}
	case "kubernetes.io/ssh-auth":
		if tree.Str(data, "ssh-privatekey") == "" {
			return field.ErrorList{field.Required(path.Key("ssh-privatekey"), "")}
		}
	case "kubernetes.io/tls":
		return missing("tls.crt", "tls.key")
	}
	return nil
}

func validateServiceAccount(_ context.Context, r *resource.Request) field.ErrorList {
	return check.Name(r.Object, check.DNSSubdomain)
}

// accounts is the hooks of service accounts: without tokens they have no subresource.
func accounts(tokens resource.Subresourcer) any {
	kind := hook.Kind{OnValidate: validateServiceAccount, OnPrint: printAge}
	if tokens == nil {
		return kind
	}
	return struct {
		hook.Kind
		resource.Subresourcer
	}{kind, tokens}
}
