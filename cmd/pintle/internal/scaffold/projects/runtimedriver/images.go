package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// image finds one by its reference or its id.
func (s *state) image(name string) (runtimedriver.Image, bool) {
	for ref, i := range s.Images {
		if ref == name || i.ID == name {
			return i, true
		}
	}
	return runtimedriver.Image{}, false
}

// PullImage implements runtimedriver.Images: hollow containers get along with any image. A real one
// is fetched and unpacked here.
func (d *driver) PullImage(_ context.Context, ref string, _ *runtimedriver.RegistryAuth) (i runtimedriver.Image, err error) {
	sum := sha256.Sum256([]byte(ref))
	i = runtimedriver.Image{ID: "sha256:" + hex.EncodeToString(sum[:]), RepoTags: []string{ref}}
	err = d.file.change(func(st *state) error { st.Images[ref] = i; return nil })
	return i, err
}

// ImageStatus implements runtimedriver.Images.
func (d *driver) ImageStatus(_ context.Context, ref string) (runtimedriver.Image, error) {
	st, err := d.file.read()
	if err != nil {
		return runtimedriver.Image{}, err
	}
	i, ok := st.image(ref)
	if !ok {
		return i, absent("image", ref)
	}
	return i, nil
}

// ListImages implements runtimedriver.Images.
func (d *driver) ListImages(context.Context) ([]runtimedriver.Image, error) {
	st, err := d.file.read()
	if err != nil {
		return nil, err
	}
	out := make([]runtimedriver.Image, 0, len(st.Images))
	for _, i := range st.Images {
		out = append(out, i)
	}
	return out, nil
}

// RemoveImage implements runtimedriver.Images.
func (d *driver) RemoveImage(_ context.Context, id string) error {
	return d.file.change(func(st *state) error {
		for ref, i := range st.Images {
			if i.ID == id {
				delete(st.Images, ref)
			}
		}
		return nil
	})
}
