// Package translations keeps kubectl's texts in other languages out of processes that are not
// kubectl. It must not know what those are.
package translations

import (
	"os"
	"slices"

	"k8s.io/kubectl/pkg/util/i18n"
)

// kubectl's packages translate the help of their commands when a program starts that they are
// part of, for which they read 4 MiB of catalogues into memory: in the server, and in each
// first-party plugin again. Before them is the only time to say that nobody will read it; this
// package comes first as it needs less.
func init() {
	if slices.Contains(os.Args, "kubectl") {
		return
	}
	// It fails where translations have been loaded already; then they stay.
	_ = i18n.SetLoadTranslationsFunc(func() error { return nil })
}
