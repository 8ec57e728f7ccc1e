package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// serverName is who the server is where it writes objects itself.
const serverName = "system:apiserver"

// writer changes objects on behalf of hooks.
type writer struct{ server *Server }

var _ resource.Writer = writer{}

// Writer changes objects as the server itself.
func (s *Server) Writer() resource.Writer { return writer{s} }

// ChangeStatus implements resource.Writer.
func (w writer) ChangeStatus(ctx context.Context, gr schema.GroupResource, namespace, name string, changeIt func(map[string]any) error) error {
	d, ok := w.server.cfg.Registry.Snapshot().Definition(gr)
	if !ok || d.StorageVersion() == nil {
		return fmt.Errorf("no resource type %q is registered", gr)
	}
	gvr := gr.WithVersion(d.StorageVersion().Name)
	k, ok := w.server.lookup(gvr)
	if !ok {
		return fmt.Errorf("no resource type %q is served", gvr)
	}
	q := &request{
		server: w.server, ctx: ctx, kind: k, query: url.Values{}, user: resource.User{Name: serverName}, internal: true,
		r:     &http.Request{Method: http.MethodPut, URL: &url.URL{}, Header: http.Header{"User-Agent": {"kube-apiserver"}}},
		route: route{resource: true, verb: "update", gvr: gvr, subresource: "status", namespace: namespace, name: name},
	}
	_, err := q.retry(true, func(live store.Object) ([]byte, error) {
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
