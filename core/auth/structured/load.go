package structured

import (
	"fmt"
	"os"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver/install"

	"github.com/pintle-dev/pintle/crd/cel"
)

// decoder knows all versions of the files, sets their defaults and refuses unknown fields. It
// is made when the first file is read, since most servers have none.
var decoder = sync.OnceValue(func() runtime.Decoder {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
})

// read returns the content of a file, for what it is in errors, and makes ready what its
// expressions are compiled with.
func read(what, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if _, err := cel.Base(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, file, err)
	}
	return data, nil
}

// decode makes the configuration that a file has to hold, a pointer to one.
func decode[T any](data []byte) (T, error) {
	var none T
	o, err := runtime.Decode(decoder(), data)
	if err != nil {
		return none, err
	}
	c, ok := o.(T)
	if !ok {
		return none, fmt.Errorf("expected %s, got %T", reflect.TypeFor[T]().Elem().Name(), o)
	}
	return c, nil
}
