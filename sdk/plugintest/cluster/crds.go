package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// InstallCRDs creates the CustomResourceDefinitions in files, or directories of files, and
// returns when they are served. One that exists is replaced.
func (c *Cluster) InstallCRDs(ctx context.Context, paths ...string) error {
	if len(paths) == 0 {
		return nil
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return fmt.Errorf("custom resources: %w", err)
	}
	var names []string
	for _, path := range paths {
		crds, err := read(path)
		if err != nil {
			return fmt.Errorf("custom resources: %w", err)
		}
		if len(crds) == 0 {
			return fmt.Errorf("custom resources: there is no CustomResourceDefinition in %s", path)
		}
		for _, crd := range crds {
			if err := install(ctx, client.Resource(definitions), crd); err != nil {
				return fmt.Errorf("custom resources: %s: %w", path, err)
			}
			names = append(names, crd.GetName())
		}
	}
	for _, name := range names {
		if err := established(ctx, client.Resource(definitions), name); err != nil {
			return fmt.Errorf("custom resources: %s: %w", name, err)
		}
	}
	return nil
}

func install(ctx context.Context, crds dynamic.ResourceInterface, crd *unstructured.Unstructured) error {
	_, err := crds.Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "plugintest", Force: true})
	return err //nolint:wrapcheck // the caller names the file, the error the object
}

// established returns when a type is served.
func established(ctx context.Context, crds dynamic.ResourceInterface, name string) error {
	var last string
	err := wait.PollUntilContextTimeout(ctx, 2*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		crd, err := crds.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			if condition["type"] == "Established" && condition["status"] == "True" {
				return true, nil
			}
			if condition["status"] == "False" {
				last = fmt.Sprintf(" (%v: %v)", condition["type"], condition["message"])
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("it is not established%s: %w", last, err)
	}
	return nil
}

// read returns the definitions in a file, or in the files of a directory.
func read(path string) ([]*unstructured.Unstructured, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		crds, err := readFile(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, crds...)
	}
	return out, nil
}

func readFile(path string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	documents := yaml.NewYAMLOrJSONDecoder(f, 4096)
	var out []*unstructured.Unstructured
	for {
		u := &unstructured.Unstructured{}
		switch err := documents.Decode(&u.Object); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if u.GetKind() == "CustomResourceDefinition" {
			out = append(out, u)
		}
	}
}
