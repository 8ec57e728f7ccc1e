package structured

import (
	"fmt"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
)

// decoder knows all versions of the files, sets their defaults and refuses unknown fields. It
// is made when the first file is read, since most servers have none.
var decoder = sync.OnceValue(func() runtime.Decoder {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
})

// read returns the content of a file, for what it is in errors.
func read(what, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return data, nil
}

func decodeAuthentication(data []byte) (*apiserver.AuthenticationConfiguration, error) {
	o, err := runtime.Decode(decoder(), data)
	if err != nil {
		return nil, err
	}
	c, ok := o.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", o)
	}
	return c, nil
}

func decodeAuthorization(data []byte) (*apiserver.AuthorizationConfiguration, error) {
	o, err := runtime.Decode(decoder(), data)
	if err != nil {
		return nil, err
	}
	c, ok := o.(*apiserver.AuthorizationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthorizationConfiguration, got %T", o)
	}
	return c, nil
}
