package controllerruntime

import (
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// definitions reads the types in all YAML files of a file system.
func definitions(files fs.FS) ([]*resource.Definition, error) {
	if files == nil {
		return nil, nil
	}
	var out []*resource.Definition
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		found, err := resource.FromCRD(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, found...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("types of the project: %w", err)
	}
	return out, nil
}
