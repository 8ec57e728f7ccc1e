package aggregation

import (
	"bytes"
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/store"
)

// remote is a group version that another server serves, and the connections to it.
type remote struct {
	a    *Aggregator
	name string
	gv   schema.GroupVersion
	// plugin serves it, else service.
	plugin  *offer
	service backend.Service
	ca      []byte
	// insecure does not verify the server's certificate.
	insecure bool
	cancel   context.CancelFunc

	// plain carries requests, upgrades those that become streams. broken says why there
	// are none.
	plain, upgrades *http.Transport
	broken          error

	// available says whether requests are sent there: as the APIService's condition says, or
	// where a plugin serves, as this server's last check found, which is well.
	available, well atomic.Bool
	// addresses of endpoints that are ready, nil before they are known.
	addresses atomic.Pointer[[]string]

	mu        sync.Mutex
	resources []metav1.APIResource
	openAPI   string
}

// newRemote starts to look after a server.
func (a *Aggregator) newRemote(ctx context.Context, o *object) *remote {
	ctx, cancel := context.WithCancel(ctx)
	r := &remote{
		a: a, name: o.Metadata.Name, cancel: cancel, ca: o.Spec.CABundle, insecure: o.Spec.InsecureSkip,
		gv:      schema.GroupVersion{Group: o.Spec.Group, Version: o.Spec.Version},
		service: o.service(),
	}
	r.plain, r.upgrades, r.broken = a.transports(r)
	go r.watch(ctx)
	return r
}

func (o *object) service() backend.Service {
	s := backend.Service{Namespace: o.Spec.Service.Namespace, Name: o.Spec.Service.Name, Port: o.Spec.Service.Port}
	if s.Port == 0 {
		s.Port = defaultPort
	}
	return s
}

func (a *Aggregator) transports(r *remote) (plain, upgrades *http.Transport, err error) {
	trust := backend.Trust{CABundle: r.ca, Insecure: r.insecure, ServerName: r.service.Host()}
	if a.certificate != nil {
		var pair tls.Certificate
		if pair, err = a.certificate(); err != nil {
			return nil, nil, err
		}
		trust.Client = &pair
	}
	if plain, err = a.resolver.Transport(nil, trust, false); err != nil {
		return nil, nil, err
	}
	upgrades, err = a.resolver.Transport(nil, trust, true)
	return plain, upgrades, err
}

// serves reports whether r is what an APIService asks for.
func (r *remote) serves(o *object) bool {
	return r != nil && r.plugin == nil && r.service == o.service() && r.insecure == o.Spec.InsecureSkip && bytes.Equal(r.ca, o.Spec.CABundle) &&
		r.gv == schema.GroupVersion{Group: o.Spec.Group, Version: o.Spec.Version}
}

// end stops looking after the server; nil is nobody.
func (r *remote) end() {
	if r == nil {
		return
	}
	r.cancel()
	if r.plain != nil {
		r.plain.CloseIdleConnections()
	}
}

// scheme is that of its URLs.
func (r *remote) scheme() string {
	if r.plugin != nil {
		return "http" // within the plugin's own channel
	}
	return "https"
}

// document is what discovery shows. The caller holds the aggregator's lock.
func (r *remote) document() Remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Remote{GroupVersion: r.gv, Resources: r.resources, Stale: !r.available.Load(), OpenAPIV3: r.openAPI}
}

// address chooses an endpoint.
func (r *remote) address(ctx context.Context) (string, error) {
	if r.plugin != nil {
		return r.plugin.name, nil
	}
	if known := r.addresses.Load(); known != nil && len(*known) > 0 {
		return (*known)[rand.IntN(len(*known))], nil
	}
	return r.a.resolver.Address(ctx, r.service)
}

const (
	// checkTimeout bounds one request of a check.
	checkTimeout = 5 * time.Second
	// firstRecheck is how soon a server that failed is asked again; the time doubles.
	firstRecheck = 500 * time.Millisecond
)

// watch checks the server now, when its Service or endpoints change, and from time to time.
func (r *remote) watch(ctx context.Context) {
	moved := make(chan struct{}, 1)
	again := firstRecheck
	for ready := false; ctx.Err() == nil; {
		if !ready {
			ready = r.follow(ctx, moved)
		}
		ok := r.check(ctx)
		wait := r.a.cfg.CheckInterval
		if ok {
			again = firstRecheck
		} else {
			wait = min(again, wait)
			again *= 2
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-moved:
			again = firstRecheck
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follow signals changes of the Service and of endpoints in its namespace until ctx ends.
// It reports whether it does; where it does not, checks from time to time must do.
func (r *remote) follow(ctx context.Context, moved chan<- struct{}) bool {
	if r.plugin != nil {
		r.plugin.follow(ctx, r.plain, moved)
		return true
	}
	for _, prefix := range r.service.Keys() {
		snap, err := r.a.cfg.Store.List(ctx, r.service.Keys()[1], store.ListOptions{Limit: 1})
		if err != nil {
			return false
		}
		w, err := r.a.cfg.Store.Watch(ctx, prefix, snap.Revision)
		if err != nil {
			return false
		}
		go func() {
			defer w.Close()
			for {
				if _, err := w.Next(ctx); err != nil {
					return // told to end, or too far behind: the timer stands in for it
				}
				r.addresses.Store(nil)
				select {
				case moved <- struct{}{}:
				default: // one signal stands for all
				}
			}
		}()
	}
	return true
}
