// Package remote posts JSON documents to a server outside the cluster that a kubeconfig file
// names: the form in which Kubernetes configures webhooks for authentication, authorization
// and audit. Requests go to the exact URL in the file. It must not know what is posted.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Server is where documents are posted to.
type Server struct {
	client *http.Client
	url    string
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// Open reads a kubeconfig. timeout bounds each attempt; zero means 30 s. Nothing is
// connected yet.
func Open(kubeconfig string, timeout time.Duration) (*Server, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	cfg.Timeout = timeout
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	url, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: server: %w", kubeconfig, err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return &Server{client: client, url: url.String()}, nil
}

// StatusError is an answer that is not 2xx.
type StatusError struct {
	Code int
	Body string
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s: %s", e.Code, http.StatusText(e.Code), e.Body)
}

// Post sends in and decodes the answer into out, unless out is nil.
func (s *Server) Post(ctx context.Context, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", s.url, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post to %s: %w", s.url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err // names method and URL
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("post to %s: %w", s.url, &StatusError{Code: resp.StatusCode, Body: string(answer[:min(len(answer), 512)])})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer of %s is not the JSON that is expected: %w", s.url, err)
	}
	return nil
}

// Backoff between attempts: upstream's for authentication and authorization.
var Backoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}

// PostRetry is Post again and again, with pauses, while again says of the error that it is
// worth it. The last error is returned.
func (s *Server) PostRetry(ctx context.Context, pause wait.Backoff, in, out any, again func(error) bool) error {
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, pause, func(ctx context.Context) (bool, error) {
		last = s.Post(ctx, in, out)
		if last == nil {
			return true, nil
		}
		if ctx.Err() != nil || !again(last) {
			return false, last
		}
		return false, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// Transient reports whether an error may go away by itself: connections that break, and
// answers that say so.
func Transient(err error) bool {
	var st *StatusError
	if errors.As(err, &st) {
		return st.Code == http.StatusInternalServerError || st.Code == http.StatusTooManyRequests || st.Code == http.StatusServiceUnavailable
	}
	return utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsHTTP2ConnectionLost(err)
}
