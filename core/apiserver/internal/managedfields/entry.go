package managedfields

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
)

// entry is one element of metadata.managedFields.
type entry struct {
	manager, operation, apiVersion, time, subresource string
	// fields is the JSON of fieldsV1.
	fields string
}

const (
	opApply  = string(metav1.ManagedFieldsOperationApply)
	opUpdate = string(metav1.ManagedFieldsOperationUpdate)
)

// is reports whether e belongs to the manager that is described by o: for updates the
// version counts too.
func (e *entry) is(o *entry) bool {
	return e.manager == o.manager && e.operation == o.operation && e.subresource == o.subresource &&
		(e.operation == opApply || e.apiVersion == o.apiVersion)
}

// parse decodes managedFields. Entries that are not valid make an error, as upstream has
// it.
func parse(data []byte) ([]entry, error) {
	if len(data) == 0 {
		return nil, nil
	}
	list := gjson.ParseBytes(data)
	if !list.IsArray() {
		return nil, errors.New("metadata.managedFields must be a list")
	}
	var entries []entry
	var err error
	list.ForEach(func(_, item gjson.Result) bool {
		var e entry
		fieldsType := ""
		if !item.IsObject() {
			err = errors.New("a managed fields entry must be an object")
			return false
		}
		item.ForEach(func(k, v gjson.Result) bool {
			switch k.Str {
			case "manager":
				e.manager = v.String()
			case "operation":
				e.operation = v.String()
			case "apiVersion":
				e.apiVersion = v.String()
			case "time":
				e.time = v.String()
			case "subresource":
				e.subresource = v.String()
			case "fieldsType":
				fieldsType = v.String()
			case "fieldsV1":
				e.fields = v.Raw
			}
			return true
		})
		switch {
		case e.operation != opApply && e.operation != opUpdate:
			err = errors.New("operation must be `Apply` or `Update`")
		case e.apiVersion == "":
			err = errors.New("apiVersion must not be empty")
		case fieldsType != "FieldsV1":
			err = fmt.Errorf("invalid fieldsType %q in managed fields entry %d", fieldsType, len(entries))
		}
		if e.fields == "" || e.fields == "null" {
			e.fields = "{}"
		}
		entries = append(entries, e)
		return err == nil
	})
	return entries, err
}

// encode sorts the entries as upstream does and encodes them; no entries give nil.
func encode(entries []entry) []byte {
	if len(entries) == 0 {
		return nil
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.operation, b.operation), cmp.Compare(a.time, b.time), cmp.Compare(a.manager, b.manager),
			cmp.Compare(a.apiVersion, b.apiVersion), cmp.Compare(a.subresource, b.subresource))
	})
	n := 2
	for i := range entries {
		n += len(entries[i].fields) + 200
	}
	b := append(make([]byte, 0, n), '[')
	for i := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = entries[i].append(b)
	}
	return append(b, ']')
}

func (e *entry) append(b []byte) []byte {
	b = append(b, `{"apiVersion":`...)
	b = jsontree.AppendString(b, e.apiVersion)
	b = append(b, `,"fieldsType":"FieldsV1","fieldsV1":`...)
	b = append(b, e.fields...)
	if e.manager != "" {
		b = append(b, `,"manager":`...)
		b = jsontree.AppendString(b, e.manager)
	}
	b = append(b, `,"operation":"`...)
	b = append(b, e.operation...)
	b = append(b, '"')
	if e.subresource != "" {
		b = append(b, `,"subresource":`...)
		b = jsontree.AppendString(b, e.subresource)
	}
	if e.time != "" {
		b = append(b, `,"time":`...)
		b = jsontree.AppendString(b, e.time)
	}
	return append(b, '}')
}

// isReset reports whether a client asks for managedFields to be forgotten: an empty list,
// or one empty entry.
func isReset(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	list := gjson.ParseBytes(data)
	if !list.IsArray() {
		return false
	}
	items := list.Array()
	return len(items) == 0 || len(items) == 1 && items[0].IsObject() && len(items[0].Map()) == 0
}

// Same reports whether two lists say the same, whatever the order of fields in their
// text.
func Same(a, b []byte) bool {
	if string(a) == string(b) {
		return true
	}
	x, errX := parse(a)
	y, errY := parse(b)
	if errX != nil || errY != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		p, q := x[i], y[i]
		p.fields, q.fields = "", ""
		if p != q {
			return false
		}
		s, err := set(x[i].fields)
		if err != nil {
			return false
		}
		if t, err := set(y[i].fields); err != nil || !s.Equals(t) {
			return false
		}
	}
	return true
}

func fromAPI(list []metav1.ManagedFieldsEntry) []entry {
	entries := make([]entry, 0, len(list))
	for i := range list {
		m := &list[i]
		e := entry{manager: m.Manager, operation: string(m.Operation), apiVersion: m.APIVersion, subresource: m.Subresource, fields: "{}"}
		if m.Time != nil {
			e.time = m.Time.UTC().Format(time.RFC3339)
		}
		if m.FieldsV1 != nil {
			e.fields = m.FieldsV1.GetRawString()
		}
		entries = append(entries, e)
	}
	return entries
}
