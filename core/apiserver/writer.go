package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// serverName is who the server is where it writes objects itself.
const serverName = "system:apiserver"

// writer changes objects on behalf of hooks.
type writer struct{ server *Server }

var (
	_ resource.Writer  = writer{}
	_ resource.Creator = writer{}
)

// Writer changes objects as the server itself.
func (s *Server) Writer() resource.Writer { return writer{s} }

// Creator creates and deletes objects as the server itself.
func (s *Server) Creator() resource.Creator { return writer{s} }

// request makes a request of the server's own.
func (w writer) request(ctx context.Context, method, verb, subresource string, gr schema.GroupResource, namespace, name string) (*request, error) {
	d, ok := w.server.cfg.Registry.Snapshot().Definition(gr)
	if !ok || d.StorageVersion() == nil {
		return nil, fmt.Errorf("no resource type %q is registered", gr)
	}
	gvr := gr.WithVersion(d.StorageVersion().Name)
	k, ok := w.server.lookup(gvr)
	if !ok {
		return nil, fmt.Errorf("no resource type %q is served", gvr)
	}
	return &request{
		server: w.server, ctx: ctx, kind: k, query: url.Values{}, user: resource.User{Name: serverName}, internal: true,
		r:     &http.Request{Method: method, URL: &url.URL{}, Header: http.Header{"User-Agent": {"kube-apiserver"}}},
		route: route{resource: true, verb: verb, gvr: gvr, subresource: subresource, namespace: namespace, name: name},
	}, nil
}

// Create implements resource.Creator.
func (w writer) Create(ctx context.Context, gr schema.GroupResource, object map[string]any) error {
	meta := jsontree.Map(object, "metadata")
	namespace, _ := meta["namespace"].(string)
	q, err := w.request(ctx, http.MethodPost, "create", "", gr, namespace, "")
	if err != nil {
		return err
	}
	c, err := q.newChange(resource.Create, false)
	if err != nil {
		return err
	}
	c.Object = object
	_, err = c.create(ctx, nil)
	return err
}

// Delete implements resource.Creator.
func (w writer) Delete(ctx context.Context, gr schema.GroupResource, namespace, name, uid string) error {
	q, err := w.request(ctx, http.MethodDelete, "delete", "", gr, namespace, name)
	if err != nil {
		return err
	}
	only := types.UID(uid)
	_, err = q.deleteNamed(ctx, name, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &only}})
	return err
}

// ChangeStatus implements resource.Writer.
func (w writer) ChangeStatus(ctx context.Context, gr schema.GroupResource, namespace, name string, changeIt func(map[string]any) error) error {
	q, err := w.request(ctx, http.MethodPut, "update", "status", gr, namespace, name)
	if err != nil {
		return err
	}
	_, err = q.retry(true, func(live store.Object) ([]byte, error) {
		c, err := q.newChange(resource.Update, false)
		if err != nil {
			return nil, err
		}
		if err := c.setLive(live); err != nil {
			return nil, err
		}
		c.Object = jsontree.CopyMap(c.Old)
		if err := changeIt(c.Object); err != nil {
			return nil, err
		}
		return c.update(ctx, nil)
	})
	if errors.Is(err, resource.ErrUnchanged) {
		return nil
	}
	return err
}
