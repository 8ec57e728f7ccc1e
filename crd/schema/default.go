package schema

// defaultTyped sets defaults as upstream's typed defaulting does. Only fields that have a
// default at or below them are visited.
func defaultTyped(n *node, x map[string]any) {
	for _, p := range n.defaulted {
		v, found := x[p.name]
		// A Go value can't tell an absent string from an empty one.
		if p.hasDef && (!found || v == nil || v == "") {
			v = copyValue(p.def)
			x[p.name] = v
			found = true
		}
		if found && p.node.defaults {
			defaultTypedValue(p.node, v)
		}
	}
	if n.values != nil && n.values.defaults {
		for k, v := range x {
			if n.props[k] == nil {
				defaultTypedValue(n.values, v)
			}
		}
	}
}

func defaultTypedValue(n *node, v any) {
	switch v := v.(type) {
	case map[string]any:
		defaultTyped(n, v)
	case []any:
		if n.items != nil && n.items.defaults {
			for _, item := range v {
				defaultTypedValue(n.items, item)
			}
		}
	}
}

// defaultCustom sets the defaults of a custom resource's object and removes nulls that
// are neither allowed nor replaced by a default.
func defaultCustom(n *node, x map[string]any) {
	for k, v := range x {
		c := n.values
		p := n.props[k]
		if p != nil {
			c = p.node
		}
		if c == nil {
			continue
		}
		if v == nil {
			switch {
			case c.nullable:
			case p != nil && p.hasDef:
				x[k] = copyValue(p.def)
				defaultCustomValue(c, x[k])
			case p == nil && c.def != nil:
				x[k] = copyValue(c.def)
				defaultCustomValue(c, x[k])
			default:
				delete(x, k)
			}
			continue
		}
		defaultCustomValue(c, v)
	}
	for _, p := range n.defaulted {
		if !p.hasDef {
			continue
		}
		if _, found := x[p.name]; !found {
			v := copyValue(p.def)
			x[p.name] = v
			defaultCustomValue(p.node, v)
		}
	}
}

func defaultCustomValue(n *node, v any) {
	if n.typed {
		return // metadata has no defaults, and its nulls went with Normalize
	}
	switch v := v.(type) {
	case map[string]any:
		defaultCustom(n, v)
	case []any:
		if n.items == nil {
			return
		}
		for i, item := range v {
			if item == nil && !n.items.nullable && n.items.def != nil {
				v[i] = copyValue(n.items.def)
				item = v[i]
			}
			defaultCustomValue(n.items, item)
		}
	}
}

// copyValue copies a JSON tree.
func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = copyValue(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copyValue(e)
		}
		return out
	}
	return v
}
