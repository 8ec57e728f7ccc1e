// Package testimage makes container images for tests from the machine's static busybox,
// since no registry may be assumed.
package testimage

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Busybox builds an image with busybox and the usual applets, or skips the test where
// the machine has no static busybox.
func Busybox(t testing.TB) v1.Image {
	t.Helper()
	path := "/bin/busybox"
	f, err := elf.Open(path)
	if err != nil {
		t.Skipf("no busybox to make an image of (package busybox-static): %v", err)
	}
	libs, _ := f.ImportedLibraries()
	_ = f.Close()
	if len(libs) > 0 {
		t.Skip("the machine's busybox is not static (package busybox-static)")
	}
	bin, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data string) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/"} {
		add(tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, string(bin))
	for _, a := range []string{"sh", "cat", "echo", "env", "id", "ls", "sleep", "hostname", "httpd", "nc", "wget", "kill", "ps", "dd", "stat", "test", "mount", "touch", "true", "false", "head", "seq", "trap", "readlink", "mkdir", "stty", "date"} {
		add(tar.Header{Name: "bin/" + a, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, "")
	}
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, "root:x:0:0:root:/:/bin/sh\nweb:x:1000:1001:web:/:/bin/sh\n")
	add(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, "root:x:0:\nweb:x:1001:\nextra:x:2000:web\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err == nil {
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{
			Architecture: "amd64", OS: "linux", RootFS: mustConfig(t, img).RootFS,
			Config: v1.Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin", "FROM_IMAGE=yes"}},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func mustConfig(t testing.TB, img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Archive writes an image as a docker archive under a name.
func Archive(t testing.TB, img v1.Image, ref string) io.Reader {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tarball.Write(tag, img, &b); err != nil {
		t.Fatal(err)
	}
	return &b
}
