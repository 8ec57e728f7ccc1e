package schema

import (
	"regexp"
	"sync"

	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
)

// kind is what a node's values are. The kinds after kindIntOrString are only used in
// typed nodes.
type kind uint8

const (
	kindAny kind = iota
	kindObject
	kindArray
	kindString
	kindInteger
	kindNumber
	kindBoolean
	kindIntOrString
	kindQuantity
	kindTime
	kindMicroTime
	// kindDateTime is a time whose precision is not known: it is checked only.
	kindDateTime
	kindBytes
)

type listType uint8

const (
	listUnset listType = iota
	listAtomic
	listSet
	listMap
)

// node is a compiled schema. Nodes form a graph that may have cycles (JSONSchemaProps);
// once built nobody changes it.
type node struct {
	kind kind
	// typed nodes are decoded as Go values upstream; all below a typed node are typed.
	typed    bool
	nullable bool
	// preserve keeps unknown fields.
	preserve bool
	embedded bool
	// bits is 32 for int32, 64 for int64, and 0 where no format is given.
	bits uint8
	// formatted is set where the schema has a format, rawObject where it is an object of
	// which nothing is known.
	formatted, rawObject bool

	props  map[string]*property
	order  []*property // props by name
	values *node       // additionalProperties
	items  *node
	checks *checks

	// def is the default of an element or of a map's value; a property's is in property.
	def any

	listType  listType
	listKeys  []string
	mapAtomic bool
	// mapGranular is set where the schema says so, for an override of a component.
	mapGranular bool
	// name of the component, empty for schemas written in place.
	name string

	// defaults is set where something here or below has a default.
	defaults bool
	// defaulted are the properties of a typed node with a default here or below.
	defaulted []*property
	// checked are the properties of a typed node with checks here or below.
	checked []*property
	// checking is set where Validate has something to do here or below.
	checking bool

	// merge is the node's type for structured-merge-diff, made on first use.
	mergeOnce sync.Once
	merge     smdschema.Atom
}

// property is a named field of an object node.
type property struct {
	name string
	node *node
	// check is used in place of node by Validate: what a custom resource's schema asks of
	// its metadata.
	check *node

	hasDef bool
	def    any

	patchStrategies []string
	patchMergeKey   string
	mapAtomic       bool
	mapGranular     bool
}

// validating returns the node that Validate uses.
func (p *property) validating() *node {
	if p.check != nil {
		return p.check
	}
	return p.node
}

// checks are the value validations of a node.
type checks struct {
	required                     []string
	enum                         []any
	format                       string // known to strfmt
	pattern                      *pattern
	minLength, maxLength         *int64
	minimum, maximum, multipleOf *float64
	exclusiveMin, exclusiveMax   bool
	minItems, maxItems           *int64
	uniqueItems                  bool
	minProperties, maxProperties *int64
	allOf, anyOf, oneOf          []*node
	not                          *node
}

// pattern is a regular expression that is compiled when it is first needed: most types
// that are served are never written.
type pattern struct {
	source string
	once   sync.Once
	re     *regexp.Regexp
	err    error
}

func (p *pattern) compile() (*regexp.Regexp, error) {
	p.once.Do(func() { p.re, p.err = regexp.Compile(p.source) })
	return p.re, p.err
}

// element is one step of a path: an index, a property, or (isKey) a key of a map.
type element struct {
	key   string
	index int
	isKey bool
}

const noIndex = -1

// joinPath renders a path as "spec.containers[0].name".
func joinPath(path []element) string {
	n := 0
	for i := range path {
		n += len(path[i].key) + 4
	}
	b := make([]byte, 0, n)
	for i, e := range path {
		if e.index != noIndex {
			b = appendIndex(b, e.index)
			continue
		}
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, e.key...)
	}
	return string(b)
}
