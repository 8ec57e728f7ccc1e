package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// CapabilityChanges of a point says that the plugin, where its host takes that, sends what it has
// changed of an object in place of the whole, and does not mind the order of keys in what comes.
const CapabilityChanges = "changes"

// Bounds of changes.
const (
	// manyChanges are so many that the whole object is sent instead.
	manyChanges = 64
	// mostChanges are taken from the other end.
	mostChanges = 256
)

// ChangesOrWhole compares an object with the JSON that it was decoded from, and returns what differs,
// or the JSON of all of it where that is a great deal. Neither is returned where nothing differs. Parts of
// lists are not told apart. It costs about as much as decoding, and next to no memory.
func ChangesOrWhole(came []byte, object map[string]any) (changes []*pluginv1.Change, whole []byte, err error) {
	changes, err = changesOf(came, object)
	if errors.Is(err, errMany) {
		whole, err = EncodeTreeLoosely(object)
		return nil, whole, err
	}
	return changes, nil, err
}

func changesOf(came []byte, object map[string]any) ([]*pluginv1.Change, error) {
	c := comparer{d: decoder{s: stringOf(came)}}
	if object == nil || c.d.next() != '{' {
		return nil, errMany
	}
	if err := c.object(object, 0); err != nil {
		return nil, fmt.Errorf("compare object: %w", err)
	}
	return c.changes, nil
}

var errMany = errors.New("too much has changed")

// comparer walks through JSON and a tree at the same time. The JSON has been decoded before, so it
// is known to be good.
type comparer struct {
	d       decoder
	path    []string
	changes []*pluginv1.Change
	// keys is a stack of those that were seen: every object being compared has a part of it.
	keys []string
}

// add notes that what is at the path is v now, or has gone.
func (c *comparer) add(v any, gone bool) error {
	if len(c.changes) == manyChanges {
		return errMany
	}
	change := &pluginv1.Change{Path: slices.Clone(c.path)}
	for i, key := range change.Path {
		change.Path[i] = strings.ToValidUTF8(key, "\ufffd") // as in JSON
	}
	if !gone {
		e := encoder{loose: true}
		if err := e.value(v); err != nil {
			return err
		}
		change.Value = e.b
	}
	c.changes = append(c.changes, change)
	return nil
}

// object compares the object at which the JSON is.
func (c *comparer) object(m map[string]any, depth int) error {
	if depth >= maxDepth {
		return errMany // the whole is refused by who decodes it, with a reason
	}
	seen := len(c.keys)
	defer func() { c.keys = c.keys[:seen] }()
	kept := 0
	err := c.each(func(key string) error {
		c.keys, c.path = append(c.keys, key), append(c.path, key)
		defer func() { c.path = c.path[:len(c.path)-1] }()
		v, ok := m[key]
		if !ok {
			c.skip()
			return c.add(nil, true)
		}
		kept++
		return c.member(v, depth)
	})
	if err != nil || kept == len(m) {
		return err
	}
	for k, v := range m {
		if slices.Contains(c.keys[seen:], k) {
			continue
		}
		c.path = append(c.path, k)
		err := c.add(v, false)
		c.path = c.path[:len(c.path)-1]
		if err != nil {
			return err
		}
	}
	return nil
}

// member compares a value of an object.
func (c *comparer) member(v any, depth int) error {
	if m, ok := v.(map[string]any); ok && c.d.next() == '{' {
		return c.object(m, depth+1)
	}
	c.d.space()
	start := c.d.i
	same, err := c.same(v)
	if err != nil || same {
		return err
	}
	c.d.i = start
	c.skip()
	return c.add(v, false)
}

// each calls f at each value of the object at which the JSON is. f has to pass it.
func (c *comparer) each(f func(key string) error) error {
	d := &c.d
	d.i++ // {
	for d.next() != '}' {
		switch d.next() {
		case 0:
			return errEnd
		case ',':
			d.i++
			continue
		}
		key, err := d.str()
		if err != nil {
			return err
		}
		d.space()
		d.i++ // :
		if err := f(key); err != nil {
			return err
		}
	}
	d.i++
	return nil
}

// errDiffers ends the comparison of what can't be told apart further.
var errDiffers = errors.New("it differs")

// same reports whether the value at which the JSON is equals v, and passes it where that is so.
func (c *comparer) same(v any) (bool, error) {
	d := &c.d
	first := d.next()
	switch v := v.(type) {
	case nil:
		return d.literal("null") == nil, nil
	case bool:
		word := "false"
		if v {
			word = "true"
		}
		return d.literal(word) == nil, nil
	case string:
		if first != '"' {
			return false, nil
		}
		s, err := d.str()
		return s == v, err
	case int64, float64:
		if first != '-' && (first < '0' || first > '9') {
			return false, nil
		}
		n, err := d.number()
		return n == v, err
	case []any:
		return c.sameList(v, first)
	case map[string]any:
		return c.sameObject(v, first)
	}
	return c.sameText(v)
}

func (c *comparer) sameList(v []any, first byte) (bool, error) {
	if first != '[' {
		return false, nil
	}
	d := &c.d
	d.i++
	for i := range v {
		if i > 0 {
			if d.next() != ',' {
				return false, nil
			}
			d.i++
		}
		if d.next() == ']' {
			return false, nil
		}
		if same, err := c.same(v[i]); !same {
			return false, err
		}
	}
	if d.next() != ']' {
		return false, nil
	}
	d.i++
	return true, nil
}

func (c *comparer) sameObject(v map[string]any, first byte) (bool, error) {
	if first != '{' {
		return false, nil
	}
	n := 0
	err := c.each(func(key string) error {
		n++
		member, ok := v[key]
		if !ok {
			return errDiffers
		}
		same, err := c.same(member)
		if err == nil && !same {
			err = errDiffers
		}
		return err
	})
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return n == len(v), err
}

// sameText compares what authors put into a tree that does not belong there by its JSON.
func (c *comparer) sameText(v any) (bool, error) {
	e := encoder{}
	if err := e.value(v); err != nil {
		return false, err
	}
	start := c.d.i
	c.skip()
	return bytes.Equal([]byte(c.d.s[start:c.d.i]), e.b), nil
}

// skip passes a value.
func (c *comparer) skip() {
	d := &c.d
	d.space()
	for depth := 0; d.i < len(d.s); {
		switch d.s[d.i] {
		case '"':
			for d.i++; d.i < len(d.s) && d.s[d.i] != '"'; d.i++ {
				if d.s[d.i] == '\\' {
					d.i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return // of what the value is in
			}
		case ',':
			if depth == 0 {
				return
			}
		}
		d.i++
	}
}

// ChangesSize is about the number of bytes that changes take.
func ChangesSize(changes []*pluginv1.Change) int {
	n := 0
	for _, c := range changes {
		n += 64 + len(c.GetValue())
	}
	return n
}

// ApplyChanges returns an object with changes. The one that is given stays as it is; both share what
// has not changed. Changes that make no sense are an error.
func ApplyChanges(object map[string]any, changes []*pluginv1.Change) (map[string]any, error) {
	if len(changes) > mostChanges {
		return nil, fmt.Errorf("%d changes came, more than %d", len(changes), mostChanges)
	}
	out := maps.Clone(object)
	for _, c := range changes {
		if err := apply(out, c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// apply makes a change in an object of its own.
func apply(object map[string]any, c *pluginv1.Change) error {
	path := c.GetPath()
	if object == nil || len(path) == 0 || len(path) > maxDepth {
		return fmt.Errorf("a change of something %d levels deep, which can't be made", len(path))
	}
	at := object
	for i, key := range path[:len(path)-1] {
		m, ok := at[key].(map[string]any)
		if !ok {
			return fmt.Errorf("a change in %q, which is no object", path[:i+1])
		}
		m = maps.Clone(m)
		at[key], at = m, m
	}
	key := path[len(path)-1]
	if len(c.GetValue()) == 0 {
		delete(at, key)
		return nil
	}
	d := decoder{s: stringOf(c.GetValue())}
	v, err := d.value(len(path))
	if err == nil && d.next() != 0 {
		err = d.wrong("the end")
	}
	if err != nil {
		return fmt.Errorf("decode what %q was changed to: %w", path, err)
	}
	at[key] = v
	return nil
}
