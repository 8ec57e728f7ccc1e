package apiserver

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/selector"
	crdschema "github.com/pintle-dev/pintle/crd/schema"
)

// Stored objects begin with their apiVersion; see jsontree.Encode.
var versionField = []byte(`{"apiVersion":"`)

// storedAs reports whether bytes are of an apiVersion.
func storedAs(data []byte, apiVersion string) bool {
	rest, ok := bytes.CutPrefix(data, versionField)
	return ok && len(rest) > len(apiVersion) && rest[len(apiVersion)] == '"' && string(rest[:len(apiVersion)]) == apiVersion
}

// asServed reports whether stored bytes are what is served of them, byte by byte.
func (k *kind) asServed(data []byte) bool {
	return storedAs(data, k.apiVersion) && k.undefaulted(data) == nil
}

// undefaulted returns the schema whose defaults stored bytes may lack, or nil.
func (k *kind) undefaulted(data []byte) *crdschema.Compiled {
	if k.since == 0 || k.versions != nil && !storedAs(data, k.apiVersion) {
		return nil // what a webhook converts has had the defaults of its own version
	}
	c := k.defaults()
	if c == nil {
		return nil
	}
	if rv, err := strconv.ParseUint(revisionOf(data), 10, 64); err != nil || rv > k.since {
		return nil
	}
	return c
}

// encodeAs encodes a tree that has its resourceVersion.
func encodeAs(tree map[string]any, managed []byte) []byte {
	rv := jsontree.String(tree, "metadata", "resourceVersion")
	out, at := jsontree.Encode(tree, managed)
	if at < 0 {
		return out
	}
	return append(append(append(make([]byte, 0, len(out)+len(rv)), out[:at]...), rv...), out[at:]...)
}

// present returns stored bytes in the version of k: the same bytes where that is the
// version they are stored in.
func (k *kind) present(data []byte) ([]byte, error) {
	if k.asServed(data) {
		return data, nil
	}
	if k.undefaulted(data) != nil {
		o, err := k.decodeStored(data) // sets them
		if err != nil {
			return nil, err
		}
		return encodeAs(o.Tree, o.ManagedFields), nil
	}
	if k.converts() {
		o, err := jsontree.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("decode a stored object: %w", err)
		}
		tree, err := k.convert(o, k.GVK)
		if err != nil {
			return nil, err
		}
		return encodeAs(tree, o.ManagedFields), nil
	}
	rest, ok := bytes.CutPrefix(data, versionField)
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return nil, fmt.Errorf("a stored object of %s does not begin with its apiVersion", k.gr)
	}
	out := make([]byte, 0, len(data)+len(k.apiVersion))
	out = append(append(out, versionField...), k.apiVersion...)
	return append(out, rest[end:]...), nil
}

// selects reports whether stored bytes are selected in the form that k presents them in.
func (k *kind) selects(sel *selector.Selector, data []byte) (bool, error) {
	if k.converts() {
		var err error
		if data, err = k.present(data); err != nil {
			return false, err
		}
	}
	return sel.Matches(data), nil
}

// decodeStored decodes stored bytes to a private tree in the version of k.
func (k *kind) decodeStored(data []byte) (*jsontree.Object, error) {
	o, err := jsontree.DecodeShared(data)
	if err != nil {
		return nil, fmt.Errorf("decode a stored object: %w", err)
	}
	switch have, _ := o.Tree["apiVersion"].(string); {
	case have == k.apiVersion:
	case k.converts():
		if o.Tree, err = k.convert(o, k.GVK); err != nil {
			return nil, err
		}
	default:
		o.Tree["apiVersion"] = k.apiVersion
	}
	if c := k.undefaulted(data); c != nil {
		c.Default(o.Tree)
	}
	return o, nil
}

// encodeForStore encodes a tree of k in the storage version, with the offset at which the
// store puts the revision.
func (k *kind) encodeForStore(tree map[string]any, managed []byte) ([]byte, int, error) {
	if k.storageVersion != k.apiVersion {
		if k.converts() {
			var err error
			if tree, err = k.convert(&jsontree.Object{Tree: jsontree.CopyMap(tree), ManagedFields: managed}, k.storage); err != nil {
				return nil, 0, err
			}
		} else {
			top := make(map[string]any, len(tree))
			for f, v := range tree {
				top[f] = v
			}
			top["apiVersion"] = k.storageVersion
			tree = top
		}
	}
	data, at := jsontree.Encode(tree, managed)
	if at < 0 {
		return nil, 0, fmt.Errorf("an object of %s has no metadata", k.GVK)
	}
	return data, at, nil
}

// revisionOf reads the resourceVersion of stored bytes.
func revisionOf(data []byte) string {
	return gjson.GetBytes(data, "metadata.resourceVersion").Str
}
