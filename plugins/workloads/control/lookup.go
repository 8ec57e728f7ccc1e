package control

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Found takes what a lister or a client answers, and returns false where that is that an
// object is not there, which is no error.
func Found[T any](obj T, err error) (T, bool, error) {
	var none T
	switch {
	case err == nil:
		return obj, true, nil
	case apierrors.IsNotFound(err):
		return none, false, nil
	}
	return none, false, err
}

// Lookup returns what a cache holds under a key, false where that is nothing. get is
// that of a lister, whose errors apierrors.IsNotFound knows.
func Lookup[T any](key string, get func(namespace, name string) (T, error)) (obj T, found bool, err error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return obj, false, nil //nolint:nilerr // not a key of ours; trying again would not help
	}
	return Found(get(namespace, name))
}

// KeyOf returns the key of an object in a namespace.
func KeyOf(obj metav1.Object) string { return obj.GetNamespace() + "/" + obj.GetName() }
