package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
)

// userAgent is what webhooks see; upstream's, as they may look at it.
const userAgent = "kube-apiserver-admission"

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// reviews encodes and decodes AdmissionReviews.
var reviews = sync.OnceValues(func() (runtime.NegotiatedSerializer, error) {
	scheme := runtime.NewScheme()
	for _, add := range [...]func(*runtime.Scheme) error{admissionv1.AddToScheme, admissionv1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("scheme of admission reviews: %w", err)
		}
	}
	return serializer.NegotiatedSerializerWrapper(runtime.SerializerInfo{
		Serializer: serializer.NewCodecFactory(scheme).LegacyCodec(admissionv1beta1.SchemeGroupVersion, admissionv1.SchemeGroupVersion),
	}), nil
})

// clients are kept by endpoint, so that webhooks of one server share their connections, also
// across changes of their configurations.
type clients struct {
	services *backend.Resolver

	mu    sync.Mutex
	known map[string]*client
}

type client struct {
	rest      *rest.RESTClient
	transport *http.Transport
}

func newClients(services *backend.Resolver) *clients {
	return &clients{services: services, known: map[string]*client{}}
}

// endpointOf names what connections depend on.
func endpointOf(c *admissionregistrationv1.WebhookClientConfig) string {
	name, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return string(name)
}

// keep forgets the clients that are not in use; their idle connections are closed.
func (c *clients) keep(used map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, one := range c.known {
		if !used[name] {
			one.transport.CloseIdleConnections()
			delete(c.known, name)
		}
	}
}

// get returns the client of a webhook.
func (c *clients) get(h *hook) (*rest.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.known[h.endpoint]; ok {
		return one.rest, nil
	}
	one, err := c.open(&h.ClientConfig)
	if err != nil {
		return nil, err
	}
	c.known[h.endpoint] = one
	return one.rest, nil
}

// open makes a client. Nothing is connected yet.
func (c *clients) open(config *admissionregistrationv1.WebhookClientConfig) (*client, error) {
	const defaultPort = 443
	codec, err := reviews()
	if err != nil {
		return nil, err
	}
	cfg := &rest.Config{QPS: -1, ContentConfig: rest.ContentConfig{NegotiatedSerializer: codec, ContentType: runtime.ContentTypeJSON}}
	var service *backend.Service
	switch {
	case config.Service != nil:
		service = &backend.Service{Namespace: config.Service.Namespace, Name: config.Service.Name, Port: defaultPort}
		if config.Service.Port != nil {
			service.Port = *config.Service.Port
		}
		if config.Service.Path != nil {
			cfg.APIPath = *config.Service.Path
		}
		cfg.Host = "https://" + net.JoinHostPort(service.Host(), strconv.Itoa(int(service.Port)))
	case config.URL != nil:
		u, err := url.Parse(*config.URL)
		if err != nil {
			return nil, fmt.Errorf("Unparsable URL: %w", err) //nolint:staticcheck // upstream's message
		}
		cfg.Host, cfg.APIPath = u.Scheme+"://"+u.Host, u.Path
	default:
		return nil, errors.New("webhook configuration must have either service or URL")
	}
	t, err := c.services.Transport(service, backend.Trust{CABundle: config.CABundle}, false)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}
	if service != nil {
		// One connection of HTTP/2 would take all calls to one of the endpoints.
		t.ForceAttemptHTTP2 = false
		t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	} else {
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	}
	answers := &http.Client{Transport: transport.NewUserAgentRoundTripper(userAgent, bounded{t})}
	one, err := rest.UnversionedRESTClientForConfigAndClient(cfg, answers)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}
	return &client{one, t}, nil
}

// A connection on which nothing comes is tried after pingAfter and given up after
// pingTimeout.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// bounded keeps answers from filling the memory.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err //nolint:wrapcheck // it is net/http's business
}
