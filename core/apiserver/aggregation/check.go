package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/store"
)

// maxDocument bounds what is read of a server's documents.
const maxDocument = 16 << 20

// check looks whether the server can be reached, reads what it serves, writes the
// condition, and reports whether all is well.
func (r *remote) check(ctx context.Context) bool {
	c := r.examine(ctx)
	if ctx.Err() != nil {
		return true
	}
	if c.Status == "True" {
		r.readOpenAPI(ctx)
	}
	r.well.Store(c.Status == "True" && r.plugin != nil)
	written := r.report(ctx, c)
	r.a.publish()
	return written && c.Status == "True"
}

func result(status, reason, format string, args ...any) condition {
	return condition{Type: available, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// examine works out the condition Available, as upstream words it.
func (r *remote) examine(ctx context.Context) condition {
	s := r.service
	if r.plugin != nil {
		if _, away := r.plugin.state(); away != nil {
			return result("False", "PluginUnavailable", "%v", away)
		}
		return r.examineResources(ctx)
	}
	service, err := r.a.resolver.Get(ctx, s.Namespace, s.Name)
	switch {
	case apierrors.IsNotFound(err):
		return result("False", "ServiceNotFound", "service/%s in %q is not present", s.Name, s.Namespace)
	case err != nil:
		return result("Unknown", "ServiceAccessError", "service/%s in %q cannot be checked due to: %v", s.Name, s.Namespace, err)
	}
	if service.Spec.Type == corev1.ServiceTypeClusterIP || service.Spec.Type == "" {
		i := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == s.Port })
		if i < 0 {
			return result("False", "ServicePortError", "service/%s in %q is not listening on port %d", s.Name, s.Namespace, s.Port)
		}
		port := service.Spec.Ports[i].Name
		list, err := r.a.resolver.Slices(ctx, s.Namespace, s.Name)
		switch {
		case err != nil:
			return result("Unknown", "EndpointsAccessError", "service/%s in %q cannot be checked due to: %v", s.Name, s.Namespace, err)
		case len(list) == 0:
			return result("False", "EndpointsNotFound", "cannot find endpointslices for service/%s in %q", s.Name, s.Namespace)
		}
		ready := r.remember(list, port, service)
		if len(ready) == 0 {
			return result("False", "MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", s.Name, s.Namespace, port)
		}
	}
	return r.examineResources(ctx)
}

func (r *remote) examineResources(ctx context.Context) condition {
	if err := r.readResources(ctx); err != nil {
		return result("False", "FailedDiscoveryCheck", "%v", err)
	}
	return result("True", "Passed", "all checks passed")
}

// remember keeps the addresses for requests.
func (r *remote) remember(list []discoveryv1.EndpointSlice, port string, service *corev1.Service) []string {
	var family corev1.IPFamily
	if len(service.Spec.IPFamilies) > 0 {
		family = service.Spec.IPFamilies[0]
	}
	ready := backend.Ready(list, port, family)
	r.addresses.Store(&ready)
	return ready
}

// attempts at the discovery document: one endpoint of many may be ill.
const attempts = 3

// readResources asks for what the server serves, which it is required to answer.
func (r *remote) readResources(ctx context.Context) error {
	if r.broken != nil {
		return r.broken
	}
	path := "/apis/" + r.gv.Group + "/" + r.gv.Version
	if r.gv.Group == "" {
		path = "/api/" + r.gv.Version
	}
	var list metav1.APIResourceList
	var err error
	for range attempts {
		var body []byte
		if body, err = r.fetch(ctx, path); err == nil {
			if err := json.Unmarshal(body, &list); err != nil {
				return fmt.Errorf("failing or missing response from %s: %w", path, err)
			}
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if err != nil {
		r.plain.CloseIdleConnections()
		return err
	}
	r.mu.Lock()
	r.resources = list.APIResources
	r.mu.Unlock()
	return nil
}

// readOpenAPI asks where the OpenAPI document of the group version is. A server need not
// have one.
func (r *remote) readOpenAPI(ctx context.Context) {
	var index struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	id := strings.TrimPrefix(r.documentPath(), "/openapi/v3/")
	body, err := r.fetch(ctx, "/openapi/v3")
	if err == nil {
		err = json.Unmarshal(body, &index)
	}
	if err != nil {
		r.a.log.Debug("no OpenAPI of an extension API server", "apiservice", r.name, "error", err)
		return
	}
	r.mu.Lock()
	r.openAPI = index.Paths[id].URL
	r.mu.Unlock()
}

// documentPath is where clients look for the OpenAPI document of the group version.
func (r *remote) documentPath() string {
	if r.gv.Group == "" {
		return "/openapi/v3/api/" + r.gv.Version
	}
	return "/openapi/v3/apis/" + r.gv.Group + "/" + r.gv.Version
}

// fetch reads a document of the server as a member of system:masters, who may read all.
func (r *remote) fetch(ctx context.Context, path string) ([]byte, error) {
	address, err := r.address(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	u := url.URL{Scheme: r.scheme(), Host: address, Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	transport.SetAuthProxyHeaders(req, "system:kube-aggregator", "", []string{"system:masters"}, nil)
	req.Header.Set("Accept", "application/json")
	client := http.Client{Transport: r.plain, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("failing or missing response from %s: %w", u.String(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("failing or missing response from %s: bad status from %s: %d", u.String(), u.String(), resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("failing or missing response from %s: %w", u.String(), err)
	}
	return body, nil
}

// report writes the condition where it says something new, and reports whether it stands.
func (r *remote) report(ctx context.Context, c condition) bool {
	if !r.a.cfg.Leading() {
		return true
	}
	o, err := r.a.cfg.Store.Get(ctx, key(r.name))
	if errors.Is(err, store.ErrNotFound) {
		return true
	}
	if err == nil {
		var w store.Write
		var needed bool
		if w, needed, err = withCondition(o, c, now(r.a.cfg.Now)); err == nil && !needed {
			return true
		}
		if err == nil {
			_, err = r.a.cfg.Store.Write(ctx, w)
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		if !errors.Is(err, store.ErrConflict) {
			r.a.log.Warn("the availability of an APIService is not written", "apiservice", r.name, "error", err)
		}
		return false
	}
	return true
}
