package main

import (
	"bytes"
	"io"
	"regexp"

	"sigs.k8s.io/controller-tools/pkg/genall"
	"sigs.k8s.io/controller-tools/pkg/loader"
)

// withoutVersion leaves out the annotation that names controller-gen's version: it is the
// version of this module, of which what is written does not depend, and would differ from one
// author's machine to the other's.
type withoutVersion struct {
	genall.OutputRule
}

// Open implements genall.OutputRule.
func (o withoutVersion) Open(pkg *loader.Package, itemPath string) (io.WriteCloser, error) {
	out, err := o.OutputRule.Open(pkg, itemPath)
	if err != nil {
		return nil, err
	}
	return &filter{to: out}, nil
}

var versionAnnotation = regexp.MustCompile(`(?m)^  annotations:\n    controller-gen\.kubebuilder\.io/version:.*\n(  {2,}\S)?|^    controller-gen\.kubebuilder\.io/version:.*\n`)

// filter writes when it is closed.
type filter struct {
	bytes.Buffer
	to io.WriteCloser
}

// Close implements io.Closer.
func (f *filter) Close() error {
	text := versionAnnotation.ReplaceAllFunc(f.Bytes(), func(found []byte) []byte {
		if i := bytes.LastIndexByte(found, '\n'); i < len(found)-1 {
			return append([]byte("  annotations:\n"), found[i+1:]...) // there are others
		}
		return nil
	})
	_, err := f.to.Write(text)
	if cerr := f.to.Close(); err == nil {
		err = cerr
	}
	return err
}
