package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pintle-dev/pintle/crd/schema"
)

// write writes FILE/schema.json.gz and FILE/docs.json.gz for each group and version.
// Each file is a JSON object with one member on a line, sorted, so that a reader finds a
// component without parsing the others.
func write(components map[string]*schema.Schema, dir string) error {
	schemas := map[string]map[string]any{}
	docs := map[string]map[string]any{}
	for name, s := range components {
		f := file(name)
		if schemas[f] == nil {
			schemas[f], docs[f] = map[string]any{}, map[string]any{}
		}
		if d := describe(s); len(d) > 0 {
			docs[f][name] = d
		}
		schemas[f][name] = s
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for f := range schemas {
		sub := filepath.Join(dir, f)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(sub, "schema.json.gz"), schemas[f]); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(sub, "docs.json.gz"), docs[f]); err != nil {
			return err
		}
	}
	return nil
}

// describe takes the descriptions out of a component: that of the component under "" and
// those of its fields.
func describe(s *schema.Schema) map[string]string {
	d := map[string]string{}
	if s.Description != "" {
		d[""] = s.Description
		s.Description = ""
	}
	for field, p := range s.Properties {
		if p.Description != "" {
			d[field] = p.Description
			p.Description = ""
		}
	}
	return d
}

func writeFile(path string, members map[string]any) error {
	var b bytes.Buffer
	b.WriteString("{\n")
	for i, name := range slices.Sorted(maps.Keys(members)) {
		raw, err := json.Marshal(members[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%q:%s", name, raw)
	}
	b.WriteString("\n}\n")

	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(b.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
