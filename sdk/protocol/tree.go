package protocol

import (
	"encoding/json"
	"fmt"

	kjson "sigs.k8s.io/json"
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
