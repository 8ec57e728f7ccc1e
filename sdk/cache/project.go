package cache

import (
	"errors"

	"github.com/tidwall/gjson"
)

var errNoObject = errors.New("not a JSON object")

// project appends to dst the JSON object src with the fields of a set alone, in their order.
func project(dst []byte, src string, f *fields) ([]byte, error) {
	v := gjson.Parse(src)
	if !v.IsObject() {
		return dst, errNoObject
	}
	return appendFields(dst, v, f), nil
}

func appendFields(dst []byte, v gjson.Result, f *fields) []byte {
	switch {
	case f.all:
		return append(dst, v.Raw...)
	case v.IsObject():
		dst = append(dst, '{')
		first := true
		v.ForEach(func(key, value gjson.Result) bool {
			sub := f.below[key.Str]
			if sub == nil {
				return true
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, key.Raw...)
			dst = append(dst, ':')
			dst = appendFields(dst, value, sub)
			return true
		})
		return append(dst, '}')
	case v.IsArray():
		dst = append(dst, '[')
		first := true
		v.ForEach(func(_, item gjson.Result) bool {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = appendFields(dst, item, f)
			return true
		})
		return append(dst, ']')
	default:
		return append(dst, v.Raw...) // null, or not what the type says
	}
}
