package apiserver

import (
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// admitConnect asks about a byte stream. The object is the stream's options, which stand in
// the query, and what is behind the subresource in the path. Streams without options of
// their own kind (log) are reads, which admission is not asked about.
func (q *request) admitConnect(sub *crd.Subresource) error {
	if len(q.server.cfg.Mutators)+len(q.server.cfg.Validators) == 0 || sub.Kind == q.kind.GVK.Kind {
		return nil
	}
	c, err := q.newChange(resource.Connect, false)
	if err != nil {
		return err
	}
	c.Kind = q.kind.kindOf(sub)
	types := q.optionTypes(c)
	c.Object = map[string]any{"kind": c.Kind.Kind, "apiVersion": c.Kind.GroupVersion().String()}
	for name, values := range q.query {
		if v := optionOf(types[name], values); v != nil {
			c.Object[name] = v
		}
	}
	if _, ok := types["path"]; ok && q.route.rest != "" {
		c.Object["path"] = q.route.rest
	}
	sent := jsontree.CopyMap(c.Object)
	err = c.admitBody(q.ctx)
	q.warn(c.Warnings...)
	if err != nil {
		return err
	}
	q.writeWarnings() // the stream's own answer has none
	if jsontree.Equal(sent, c.Object) {
		return nil
	}
	query := url.Values{}
	for name, v := range c.Object {
		if name == "kind" || name == "apiVersion" || name == "path" {
			continue
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			query.Add(name, optionText(item))
		}
	}
	q.query = query
	q.r.URL.RawQuery = query.Encode()
	return nil
}

// optionTypes are the types of the options of a stream, by name: those of the kind's Go type,
// or none where there is no such type; then all is text.
func (q *request) optionTypes(c *change) map[string]reflect.Type {
	types := map[string]reflect.Type{}
	o, ok := q.server.cfg.GoTypes(c.Kind)
	if !ok {
		return types
	}
	t := reflect.TypeOf(o).Elem()
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" && !f.Anonymous {
			types[name] = f.Type
		}
	}
	return types
}

// optionOf is an option's value as JSON has it; nil where it says nothing.
func optionOf(t reflect.Type, values []string) any {
	if len(values) == 0 {
		return nil
	}
	switch {
	case t == nil && len(values) > 1, t != nil && t.Kind() == reflect.Slice:
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
			if t != nil && t.Elem().Kind() != reflect.String {
				list[i] = optionOf(t.Elem(), []string{v})
			}
		}
		return list
	case t == nil:
		return values[0]
	}
	switch t.Kind() {
	case reflect.Bool:
		if v := strings.ToLower(values[0]); v == "false" || v == "0" {
			return nil
		}
		return true
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil {
			return nil
		}
		return n
	case reflect.Pointer:
		return optionOf(t.Elem(), values)
	}
	return values[0]
}

func optionText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return string(jsontree.Append(nil, v))
}
