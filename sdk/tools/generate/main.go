// Command generate writes what a plugin says as data from Go structs with the markers that
// controller-gen reads:
//
//   - a CustomResourceDefinition for each type marked +kubebuilder:object:root=true, which the
//     plugin embeds and reads with resource.FromCRDFiles;
//   - a JSON schema for the struct marked +pintle:settings, beside it as settings.schema.json,
//     which the plugin embeds and returns from ConfigSchema;
//   - deep copies for packages marked +kubebuilder:object:generate=true, for who wants to use the
//     types with controller-runtime.
//
// It is a module of its own, so that neither plugins nor Pintle build what it needs. Authors run
// it as `pintle plugin generate`.
package main

import (
	"flag"
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
	"sigs.k8s.io/controller-tools/pkg/crd"
	"sigs.k8s.io/controller-tools/pkg/deepcopy"
	"sigs.k8s.io/controller-tools/pkg/genall"
)

func main() {
	dir := flag.String("dir", ".", "the directory of the plugin's module")
	crds := flag.String("crds", "crds", "directory for CustomResourceDefinitions, relative to -dir")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: generate [-dir DIR] [-crds DIR] [PACKAGES]\n\nPACKAGES are Go's patterns, ./... where there are none.")
		flag.PrintDefaults()
	}
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(*dir, *crds, patterns); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(dir, crds string, patterns []string) error {
	// Where a package's files go is relative to the working directory.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	var crdGen genall.Generator = crd.Generator{}
	var copyGen genall.Generator = deepcopy.Generator{}
	var settingsGen genall.Generator = settingsGenerator{}
	generators := genall.Generators{&crdGen, &copyGen, &settingsGen}
	rt, err := generators.ForRootsWithConfig(&packages.Config{}, patterns...)
	if err != nil {
		return err
	}
	rt.OutputRules = genall.OutputRules{
		Default: genall.OutputArtifacts{},
		ByGenerator: map[*genall.Generator]genall.OutputRule{
			&crdGen: withoutVersion{genall.OutputToDirectory(crds)},
		},
	}
	if failed := rt.Run(); failed {
		return fmt.Errorf("not all was written, see above")
	}
	return nil
}
