package cel

import (
	"fmt"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

const (
	// maxSteps is how many pairs of values may be looked at to compare two. Objects have
	// fewer parts.
	maxSteps = 1 << 20
	// freeSteps is up to which number comparing costs what it costs upstream, which counts
	// the elements of lists and maps but not what is in them.
	freeSteps = 1 << 10
	// stepWork is what looking at one pair is, in bytes of strings.
	stepWork = 4
)

// compares estimates how many values the functions look at that compare lists and maps, or
// whose cost upstream finds by going through them.
var compares = map[string]func(args []ref.Val) int{
	operators.Equals:    once,
	operators.NotEquals: once,
	operators.In:        func(args []ref.Val) int { return elements(args[1]) },
	"indexOf":           elementsOfFirst,
	"lastIndexOf":       elementsOfFirst,
	"isSorted":          elementsOfFirst,
	"sum":               elementsOfFirst,
	"min":               elementsOfFirst,
	"max":               elementsOfFirst,
	"distinct":          func(args []ref.Val) int { return product(args[0], args[0]) },
	"sets.contains":     pairwise,
	"sets.intersects":   pairwise,
	"sets.equivalent":   func(args []ref.Val) int { return 2 * pairwise(args) },
}

func elementsOfFirst(args []ref.Val) int { return elements(args[0]) }

func pairwise(args []ref.Val) int { return product(args[0], args[1]) }

// once is for comparing two values: that ends with the smaller.
func once(args []ref.Val) int {
	if !nested(args[0]) || !nested(args[1]) {
		return 1
	}
	first := elements(args[0])
	return min(first, elementsUpTo(args[1], first))
}

// product is for comparing each element of one list with each of another.
func product(a, b ref.Val) int {
	list, ok := b.(traits.Lister)
	if !ok {
		return 1
	}
	n, _ := list.Size().(types.Int)
	return elements(a) * int(n)
}

func nested(v ref.Val) bool {
	switch v.(type) {
	case traits.Mapper, traits.Lister:
		return true
	}
	return false
}

// elements counts the values in a value, and those in them, each time they occur. It stops
// counting a little behind maxSteps.
func elements(v ref.Val) int { return elementsUpTo(v, maxSteps) }

func elementsUpTo(v ref.Val, most int) int {
	left := most
	count(v, &left)
	return most - left
}

func count(v ref.Val, left *int) {
	*left--
	switch v := v.(type) {
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True && *left >= 0; {
			count(v.Get(it.Next()), left)
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True && *left >= 0; {
			count(it.Next(), left)
		}
	}
}

func checkSteps(steps func([]ref.Val) int) func(string, []ref.Val) error {
	return func(name string, args []ref.Val) error {
		if steps(args) > maxSteps {
			return fmt.Errorf("%s would look at more than %d values", name, maxSteps)
		}
		return nil
	}
}

// counted is the work of a number of steps where it counts.
func counted(steps int) int {
	if steps > freeSteps {
		return stepWork * steps
	}
	return 0
}
