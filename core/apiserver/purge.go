package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Purge deletes all objects of a type, as a client of the name by would, and returns how
// many are still there because they wait for finalizers.
func (s *Server) Purge(ctx context.Context, gvr schema.GroupVersionResource, by string) (remaining int, err error) {
	k, ok := s.lookup(gvr)
	if !ok {
		return 0, nil
	}
	snap, err := s.cfg.Store.List(ctx, store.Key(k.Bucket+"/"), store.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", gvr.GroupResource(), err)
	}
	r := &http.Request{Method: http.MethodDelete, URL: &url.URL{}, Header: http.Header{"User-Agent": {by}}}
	for _, o := range snap.Objects {
		namespace, name := splitKey(k.Bucket, o.Key)
		q := &request{server: s, r: r, ctx: ctx, kind: k, query: url.Values{}, user: resource.User{Name: by}, internal: true,
			route: route{resource: true, verb: "delete", gvr: gvr, namespace: namespace, name: name}}
		d, err := q.deleteNamed(ctx, name, &metav1.DeleteOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return remaining, errors.Join(fmt.Errorf("delete %s %q", gvr.GroupResource(), name), err)
		case !d.gone:
			remaining++
		}
	}
	return remaining, nil
}

// splitKey takes the namespace and name out of a key of a bucket.
func splitKey(bucket string, key store.Key) (namespace, name string) {
	name = nameOf(key)
	rest := string(key[len(bucket)+1:])
	return rest[:len(rest)-len(name)-1], name
}
