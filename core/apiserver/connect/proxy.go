package connect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
)

// proxyPod relays to a port of a pod; by default the first that a container declares.
func (h *Handler) proxyPod(w http.ResponseWriter, r *http.Request, c Request) error {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", c.Name))
	}
	var pod corev1.Pod
	if err := h.get(r.Context(), "pods", c.Namespace, name, &pod); err != nil {
		return err
	}
	for i := range pod.Spec.Containers {
		if ports := pod.Spec.Containers[i].Ports; port == "" && len(ports) > 0 {
			port = strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	if ip := net.ParseIP(pod.Status.PodIP); ip == nil || !ip.IsGlobalUnicast() {
		return apierrors.NewBadRequest("address not allowed")
	}
	h.proxy(w, r, c, &url.URL{Scheme: scheme, Host: hostPort(pod.Status.PodIP, port)}, h.direct)
	return nil
}

// proxyService relays to one of the ready pods behind a service.
func (h *Handler) proxyService(w http.ResponseWriter, r *http.Request, c Request) error {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", c.Name))
	}
	if number, err := strconv.ParseInt(port, 10, 32); err == nil {
		var service corev1.Service
		if err := h.get(r.Context(), "services", c.Namespace, name, &service); err != nil {
			return err
		}
		found := false
		for _, p := range service.Spec.Ports {
			if int64(p.Port) == number {
				port, found = p.Name, true
				break
			}
		}
		if !found {
			return apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, name))
		}
	}
	candidates, err := h.endpoints(r.Context(), c.Namespace, name, port)
	if err != nil {
		return err
	}
	address, ok := h.choose(r.Context(), c.Namespace, candidates)
	if !ok {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", c.Name))
	}
	h.proxy(w, r, c, &url.URL{Scheme: scheme, Host: address}, h.direct)
	return nil
}

// candidate is an endpoint that says it is a pod.
type candidate struct {
	pod, ip string
	port    int32
}

// endpoints returns the endpoints of a service that have a port of that name: of its
// EndpointSlices, or where nobody has made any, of its Endpoints.
func (h *Handler) endpoints(ctx context.Context, namespace, service, port string) ([]candidate, error) {
	slices, err := h.services.Slices(ctx, namespace, service)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if len(slices) == 0 {
		return h.oldEndpoints(ctx, namespace, service, port)
	}
	var out []candidate
	for i := range slices {
		for _, p := range slices[i].Ports {
			if p.Port == nil || p.Name == nil && port != "" || p.Name != nil && *p.Name != port {
				continue
			}
			for _, e := range slices[i].Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
					continue
				}
				if t := e.TargetRef; t != nil && t.Kind == "Pod" && t.Namespace == namespace {
					out = append(out, candidate{t.Name, e.Addresses[0], *p.Port})
				}
			}
		}
	}
	return out, nil
}

func (h *Handler) oldEndpoints(ctx context.Context, namespace, service, port string) ([]candidate, error) {
	var endpoints corev1.Endpoints //nolint:staticcheck // where there is nothing newer
	if err := h.get(ctx, "endpoints", namespace, service, &endpoints); err != nil {
		return nil, err
	}
	var out []candidate
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if p.Name != port {
				continue
			}
			for _, a := range subset.Addresses {
				if t := a.TargetRef; t != nil && t.Kind == "Pod" && t.Namespace == namespace {
					out = append(out, candidate{t.Name, a.IP, p.Port})
				}
			}
		}
	}
	return out, nil
}

// choose returns the address of a random endpoint. Endpoints can be written by users; only
// what a pod really has is dialled.
func (h *Handler) choose(ctx context.Context, namespace string, candidates []candidate) (address string, ok bool) {
	rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	for _, c := range candidates {
		var pod corev1.Pod
		if err := h.get(ctx, "pods", namespace, c.pod, &pod); err != nil {
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			if parsed := net.ParseIP(c.ip); ip.IP == c.ip && parsed != nil && parsed.IsGlobalUnicast() {
				return net.JoinHostPort(c.ip, strconv.Itoa(int(c.port))), true
			}
		}
	}
	return "", false
}

// proxyNode relays to a node's agent, or to another port of the node.
func (h *Handler) proxyNode(w http.ResponseWriter, r *http.Request, c Request) error {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(c.Name)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", c.Name))
	}
	a, err := h.agentOf(r.Context(), name)
	if err != nil {
		return err
	}
	if port == "" || port == a.port {
		r = r.WithContext(context.WithValue(r.Context(), nodeKey{}, a.node))
		h.proxy(w, r, c, &url.URL{Scheme: "https", Host: a.address()}, h.agents)
		return nil
	}
	// Other ports on this machine are not for users of the cluster, wherever a node says
	// it is.
	if ip := net.ParseIP(a.host); ip != nil && !ip.IsGlobalUnicast() {
		return apierrors.NewBadRequest("address not allowed")
	}
	h.proxy(w, r, c, &url.URL{Scheme: scheme, Host: hostPort(a.host, port)}, h.direct)
	return nil
}

// proxy relays a request with the rest of its path and its query. Links and redirects in
// the answer are rewritten to lead through the proxy.
func (h *Handler) proxy(w http.ResponseWriter, r *http.Request, c Request, target *url.URL, transport http.RoundTripper) {
	if c.Path == "" && !strings.HasSuffix(r.URL.Path, "/") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		to := *r.URL
		to.Path += "/"
		to.RawPath, to.Scheme, to.Host = "", "", ""
		w.Header().Set("Location", to.String())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Path = c.Path
	if target.Path == "" {
		target.Path = "/"
	}
	target.RawQuery = r.URL.RawQuery
	prefix := strings.TrimSuffix(r.URL.Path, c.Path)
	if r.Header.Get("Upgrade") == "" {
		transport = &utilproxy.Transport{PathPrepend: prefix, RoundTripper: transport}
	}
	h.relay(w, r, target, transport, nil)
}

func hostPort(host, port string) string {
	if port != "" {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
