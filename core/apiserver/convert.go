package apiserver

import (
	"bytes"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/selector"
)

// Stored objects begin with their apiVersion; see jsontree.Encode.
var versionField = []byte(`{"apiVersion":"`)

// storedAs reports whether bytes are of an apiVersion.
func storedAs(data []byte, apiVersion string) bool {
	rest, ok := bytes.CutPrefix(data, versionField)
	return ok && len(rest) > len(apiVersion) && rest[len(apiVersion)] == '"' && string(rest[:len(apiVersion)]) == apiVersion
}

// present returns stored bytes in the version of k: the same bytes where that is the
// version they are stored in.
func (k *kind) present(data []byte) ([]byte, error) {
	if storedAs(data, k.apiVersion) {
		return data, nil
	}
	if k.converter != nil {
		o, err := jsontree.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("decode a stored object: %w", err)
		}
		tree, err := k.converter.Convert(o.Tree, k.GVK)
		if err != nil {
			return nil, fmt.Errorf("convert to %s: %w", k.GVK, err)
		}
		rv := jsontree.String(tree, "metadata", "resourceVersion")
		out, at := jsontree.Encode(tree, o.ManagedFields)
		if at < 0 {
			return out, nil
		}
		return append(append(append(make([]byte, 0, len(out)+len(rv)), out[:at]...), rv...), out[at:]...), nil
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
	if k.converter != nil {
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
	case k.converter != nil:
		if o.Tree, err = k.converter.Convert(o.Tree, k.GVK); err != nil {
			return nil, fmt.Errorf("convert to %s: %w", k.GVK, err)
		}
	default:
		o.Tree["apiVersion"] = k.apiVersion
	}
	return o, nil
}

// encodeForStore encodes a tree of k in the storage version, with the offset at which the
// store puts the revision.
func (k *kind) encodeForStore(tree map[string]any, managed []byte) ([]byte, int, error) {
	if k.storageVersion != k.apiVersion {
		if k.converter != nil {
			var err error
			if tree, err = k.converter.Convert(jsontree.CopyMap(tree), k.storage); err != nil {
				return nil, 0, fmt.Errorf("convert to %s: %w", k.storage, err)
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
