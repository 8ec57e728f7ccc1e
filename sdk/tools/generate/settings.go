package main

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/controller-tools/pkg/crd"
	crdmarkers "sigs.k8s.io/controller-tools/pkg/crd/markers"
	"sigs.k8s.io/controller-tools/pkg/genall"
	"sigs.k8s.io/controller-tools/pkg/loader"
	"sigs.k8s.io/controller-tools/pkg/markers"
)

// settingsMarker is on the struct that holds a plugin's settings.
const settingsMarker = "pintle:settings"

// settingsFile is written beside the struct.
const settingsFile = "settings.schema.json"

// settingsGenerator writes the schema of the struct marked +pintle:settings.
type settingsGenerator struct{}

var (
	_ genall.Generator         = settingsGenerator{}
	_ genall.NeedsTypeChecking = settingsGenerator{}
)

// CheckFilter implements genall.NeedsTypeChecking.
func (settingsGenerator) CheckFilter() loader.NodeFilter { return crd.Generator{}.CheckFilter() }

// RegisterMarkers implements genall.Generator.
func (settingsGenerator) RegisterMarkers(into *markers.Registry) error {
	if err := crdmarkers.Register(into); err != nil {
		return err
	}
	d, err := markers.MakeDefinition(settingsMarker, markers.DescribesType, struct{}{})
	if err != nil {
		return err
	}
	into.AddHelp(d, markers.SimpleHelp("Pintle", "says that the struct holds the plugin's settings"))
	return into.Register(d)
}

// Generate implements genall.Generator.
func (settingsGenerator) Generate(ctx *genall.GenerationContext) error {
	parser := &crd.Parser{Collector: ctx.Collector, Checker: ctx.Checker, AllowDangerousTypes: true}
	crd.AddKnownTypes(parser)
	for _, root := range ctx.Roots {
		var marked []string
		if err := markers.EachType(ctx.Collector, root, func(info *markers.TypeInfo) {
			if info.Markers.Get(settingsMarker) != nil {
				marked = append(marked, info.Name)
			}
		}); err != nil {
			return err
		}
		switch len(marked) {
		case 0:
			continue
		case 1:
		default:
			return fmt.Errorf("package %s: %v are all marked +%s, one may be", root.PkgPath, marked, settingsMarker)
		}
		parser.NeedPackage(root)
		ident := crd.TypeIdent{Package: root, Name: marked[0]}
		parser.NeedFlattenedSchemaFor(ident)
		text, err := json.MarshalIndent(parser.FlattenedSchemata[ident], "", "  ")
		if err != nil {
			return fmt.Errorf("package %s: settings: %w", root.PkgPath, err)
		}
		out, err := ctx.Open(root, settingsFile)
		if err != nil {
			return err
		}
		_, err = out.Write(append(text, '\n'))
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", settingsFile, err)
		}
	}
	return nil
}
