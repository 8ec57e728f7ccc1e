// Package images makes the small images of the demo and of the tests, from static programs
// of this machine: no registry and no container runtime is needed.
package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Spec says what is in an image.
type Spec struct {
	// Files maps absolute paths in the image to files of this machine.
	Files map[string]string
	// Busybox is a static busybox; its usual applets become links to it. Empty for none.
	Busybox string
	// Entrypoint, and environment as NAME=value.
	Entrypoint, Env []string
	// User the program runs as, such as "65534".
	User string
}

// applets that people, probes and tests call by name.
var applets = []string{
	"sh", "cat", "echo", "env", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls", "mkdir", "mount",
	"nc", "ping", "ps", "pwd", "rm", "sed", "sleep", "sort", "stty", "tail", "tar", "tee", "test", "touch", "true", "false", "vi",
	"wc", "wget", "printf", "date", "df", "dd", "tty", "nslookup", "seq", "yes",
}

// Build makes an image.
func Build(s Spec) (v1.Image, error) {
	layer, err := layerOf(s)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil })
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", "amd64"
	cf.Config.Entrypoint = s.Entrypoint
	cf.Config.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, s.Env...)
	cf.Config.User = s.User
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return img, nil
}

// Write stores an image with a tag as an archive that `pintle image import` reads.
func Write(file, tag string, img v1.Image) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("tag %q: %w", tag, err)
	}
	if err := tarball.WriteToFile(file, ref, img); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

func layerOf(s Spec) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	dirs := map[string]bool{}
	for _, d := range []string{"/bin", "/etc", "/tmp", "/var", "/proc", "/sys", "/dev"} {
		if err := addDir(w, dirs, d); err != nil {
			return nil, err
		}
	}
	files := map[string]string{}
	for to, from := range s.Files {
		files[to] = from
	}
	if s.Busybox != "" {
		files["/bin/busybox"] = s.Busybox
	}
	for _, to := range sortedKeys(files) {
		b, err := os.ReadFile(files[to])
		if err != nil {
			return nil, fmt.Errorf("file for the image: %w", err)
		}
		if err := addDir(w, dirs, path.Dir(to)); err != nil {
			return nil, err
		}
		if err := add(w, &tar.Header{Name: strings.TrimPrefix(to, "/"), Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}, b); err != nil {
			return nil, err
		}
	}
	if s.Busybox != "" {
		for _, a := range applets {
			if err := add(w, &tar.Header{Name: "bin/" + a, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}, nil); err != nil {
				return nil, err
			}
		}
	}
	passwd := []byte("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
	if err := add(w, &tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd)), Typeflag: tar.TypeReg}, passwd); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	return buf.Bytes(), nil
}

func addDir(w *tar.Writer, made map[string]bool, dir string) error {
	if dir == "/" || made[dir] {
		return nil
	}
	if err := addDir(w, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	mode := int64(0o755)
	if dir == "/tmp" {
		mode = 0o1777
	}
	return add(w, &tar.Header{Name: strings.TrimPrefix(dir, "/") + "/", Mode: mode, Typeflag: tar.TypeDir}, nil)
}

func add(w *tar.Writer, h *tar.Header, data []byte) error {
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("layer: %s: %w", h.Name, err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("layer: %s: %w", h.Name, err)
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
