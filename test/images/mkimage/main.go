// Command mkimage writes an image archive from static programs:
//
//	mkimage -o hello.tar -tag pintle.dev/hello:v1 -busybox /bin/busybox -entrypoint /hello /hello=bin/hello
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/pintle-dev/pintle/test/images"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("o", "", "archive to write")
	tag := flag.String("tag", "", "name and tag of the image")
	busybox := flag.String("busybox", "", "static busybox to include")
	entrypoint := flag.String("entrypoint", "", "program of the image, with arguments")
	flag.Parse()
	spec := images.Spec{Files: map[string]string{}, Busybox: *busybox, Entrypoint: strings.Fields(*entrypoint)}
	for _, arg := range flag.Args() {
		to, from, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not PATH-IN-IMAGE=FILE", arg)
		}
		spec.Files[to] = from
	}
	img, err := images.Build(spec)
	if err != nil {
		return err
	}
	return images.Write(*out, *tag, img)
}
