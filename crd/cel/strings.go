package cel

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Upstream counts the cost of making strings by what they are made of. Functions that make
// more than they take could use up all memory in one call, or a little later by being called
// on what they have made; so here they may not, and what they make is counted.
const (
	// maxString is the length of the longest string that a function may make. Objects are
	// smaller than that.
	maxString = 4 << 20
	// freeString is up to which length a string costs what it costs upstream.
	freeString = 64 << 10
)

// made estimates how long a string becomes that a function makes. It looks at no more than
// it has to.
var made = map[string]func(args []ref.Val) int{
	"replace": func(args []ref.Val) int {
		if len(args) < 3 {
			return 0
		}
		text, old, with := stringOf(args[0]), stringOf(args[1]), stringOf(args[2])
		count := strings.Count(text, old)
		if len(args) > 3 {
			if limit, ok := args[3].(types.Int); ok && limit >= 0 {
				count = min(count, int(limit))
			}
		}
		return len(text) + count*max(0, len(with)-len(old))
	},
	"join": func(args []ref.Val) int {
		separator := 0
		if len(args) > 1 {
			separator = len(stringOf(args[1]))
		}
		return lengthOf(args[0], separator, 0)
	},
	"format": func(args []ref.Val) int {
		if len(args) < 2 {
			return 0
		}
		text := stringOf(args[0])
		return len(text) + precisionOf(text) + 8*lengthOf(args[1], 2, 0)
	},
	"strings.quote": func(args []ref.Val) int { return 4 * len(stringOf(args[0])) },
}

func checkMade(size func([]ref.Val) int) func(string, []ref.Val) error {
	return func(name string, args []ref.Val) error {
		if size(args) > maxString {
			return fmt.Errorf("%s would make a string of more than %d bytes", name, maxString)
		}
		return nil
	}
}

func stringOf(v ref.Val) string {
	s, _ := v.Value().(string)
	return s
}

// maxNesting is how deep values are looked into; nothing is nested deeper in an object.
const maxNesting = 64

// lengthOf is about how long a value is as text, with a separator after each element. It
// stops counting behind maxString.
func lengthOf(v ref.Val, separator, depth int) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	case traits.Mapper:
		if depth > maxNesting {
			return maxString + 1
		}
		n := 0
		for it := v.Iterator(); it.HasNext() == types.True && n <= maxString; {
			key := it.Next()
			n += lengthOf(key, separator, depth+1) + lengthOf(v.Get(key), separator, depth+1) + separator
		}
		return n
	case traits.Lister:
		if depth > maxNesting {
			return maxString + 1
		}
		n := 0
		for it := v.Iterator(); it.HasNext() == types.True && n <= maxString; {
			n += lengthOf(it.Next(), separator, depth+1) + separator
		}
		return n
	}
	return 24
}

// precisionOf adds up the precisions that a format asks for.
func precisionOf(format string) int {
	total := 0
	for {
		_, rest, ok := strings.Cut(format, "%.")
		if !ok {
			return total
		}
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if digits != "" && (err != nil || n > maxString) {
			return maxString + 1
		}
		total += n
		format = rest
	}
}

// excess is the length of a result that is longer than what costs nothing.
func excess(args []ref.Val, result ref.Val) int {
	switch v := result.(type) {
	case types.String:
		if len(v) > freeString {
			return len(v)
		}
	case types.Bytes:
		if len(v) > freeString {
			return len(v)
		}
	case traits.MutableLister:
	case traits.Lister:
		if _, ok := args[0].(traits.MutableLister); ok {
			return 0
		}
		if n, ok := v.Size().(types.Int); ok && n > freeElements {
			return int(n)
		}
	}
	return 0
}
