package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Access says how registries are reached.
type Access struct {
	// Credentials is the path of a file in the format of Docker's config.json, of which "auths"
	// is read; empty for none. Credential helpers are not run.
	Credentials string
	// PlainHTTP are registries ("host:port") that are reached without TLS. Those on loopback
	// are in any case.
	PlainHTTP []string
	// Stall is how long a registry may be silent in the middle of an answer. 20 s where zero.
	Stall time.Duration
}

// repository makes the client of one repository. It keeps no connections when close is called.
func (a Access) repository(r reference) (repo *remote.Repository, closeIdle func(), err error) {
	repo, err = remote.NewRepository(r.name())
	if err != nil {
		return nil, nil, refuse("reference %q: %w", r.name(), err)
	}
	stall := a.Stall
	if stall <= 0 {
		stall = 20 * time.Second
	}
	dialer := &net.Dialer{Timeout: min(10*time.Second, stall)}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: min(10*time.Second, stall), ResponseHeaderTimeout: stall, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	repo.PlainHTTP = a.plain(r.registry)
	client := &auth.Client{
		Client: &http.Client{
			Transport: &retry.Transport{
				Base: &stallTransport{base: transport, limit: stall},
				Policy: func() retry.Policy {
					return &retry.GenericPolicy{
						Retryable: retry.DefaultPredicate, Backoff: retry.DefaultBackoff,
						MinWait: 200 * time.Millisecond, MaxWait: min(5*time.Second, stall), MaxRetry: 3,
					}
				},
			},
			CheckRedirect: a.checkRedirect,
		},
		Cache: auth.NewCache(),
	}
	client.SetUserAgent("pintle")
	if a.Credentials != "" {
		store, err := credentials.NewFileStore(a.Credentials)
		if err != nil {
			return nil, nil, refuse("credentials of registries: %s: %w", a.Credentials, err)
		}
		client.Credential = credentials.Credential(store)
	}
	repo.Client = client
	repo.MaxMetadataBytes = 4 << 20
	return repo, transport.CloseIdleConnections, nil
}

// plain reports whether a registry is reached without TLS.
func (a Access) plain(registry string) bool {
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.Contains(a.PlainHTTP, registry)
}

// checkRedirect follows registries to where they keep their blobs, but not out of TLS.
func (a Access) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("too many redirects")
	}
	if req.URL.Scheme == "http" && via[0].URL.Scheme == "https" && !a.plain(req.URL.Host) {
		return fmt.Errorf("the registry points to %s, which is not reached by TLS", req.URL.Host)
	}
	return nil
}

// stallTransport gives up on answers that stand still.
type stallTransport struct {
	base  http.RoundTripper
	limit time.Duration
}

func (t *stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	b := &stallBody{body: resp.Body, cancel: cancel, ctx: ctx, limit: t.limit}
	b.timer = time.AfterFunc(t.limit, func() {
		cancel(fmt.Errorf("%s sent nothing for %s", req.URL.Host, t.limit))
	})
	resp.Body = b
	return resp, nil
}

// stallBody cancels its request when a read waits too long.
type stallBody struct {
	body   io.ReadCloser
	ctx    context.Context //nolint:containedctx // the life of the body is that of its request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (b *stallBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *stallBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}
