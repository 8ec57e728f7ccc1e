package build

import (
	"fmt"
	"slices"
	"strings"
)

// mutants are mistakes that runs have to find; README.md says by which rule each was found.
var mutants = map[string][]Edit{}

// Mutant is a mistake by its name.
func Mutant(name string) ([]Edit, error) {
	m, ok := mutants[name]
	if !ok {
		return nil, fmt.Errorf("no mistake %q; there are: %s", name, strings.Join(Mutants(), ", "))
	}
	return m, nil
}

// Mutants are the names of all mistakes.
func Mutants() []string {
	var names []string
	for n := range mutants {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
