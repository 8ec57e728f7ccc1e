package cel

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

const (
	// maxElements is how many elements a list may have that is made of two.
	maxElements = 1 << 17
	// freeElements is up to which length making one costs what it costs upstream.
	freeElements = 1 << 10
)

// add is the operator + that refuses to make too long strings and lists. Where the types of
// operands are not known when an expression is compiled, as with all that is of objects
// without a type, upstream takes each addition to cost nothing.
func add(left, right ref.Val) ref.Val {
	adder, ok := left.(traits.Adder)
	if !ok {
		return types.NewErr("no such overload: %s", operators.Add)
	}
	switch l := left.(type) {
	case types.String:
		if r, ok := right.(types.String); ok && len(l)+len(r) > maxString {
			return types.NewErr("+ would make a string of more than %d bytes", maxString)
		}
	case types.Bytes:
		if r, ok := right.(types.Bytes); ok && len(l)+len(r) > maxString {
			return types.NewErr("+ would make bytes of more than %d", maxString)
		}
	case traits.MutableLister: // what a comprehension makes, element by element
	case traits.Lister:
		if r, ok := right.(traits.Lister); ok {
			return joined(l, r)
		}
	}
	return adder.Add(right)
}

// joined is a list of the elements of two. It is made at once: upstream's refers to the two,
// so that a few additions of a list to itself make one of which nobody sees the end.
func joined(left, right traits.Lister) ref.Val {
	l, _ := left.Size().(types.Int)
	r, _ := right.Size().(types.Int)
	if l+r > maxElements {
		return types.NewErr("+ would make a list of more than %d elements", maxElements)
	}
	elements := make([]ref.Val, 0, l+r)
	for _, list := range [...]traits.Lister{left, right} {
		for it := list.Iterator(); it.HasNext() == types.True; {
			elements = append(elements, it.Next())
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, elements)
}
