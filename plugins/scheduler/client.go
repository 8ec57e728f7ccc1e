package scheduler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	requestTimeout = 30 * time.Second
	// maxRetries bounds how often a request is repeated that the server put off.
	maxRetries = 5
)

// client makes requests with bodies that are bytes already. It has client-go's transport
// and credentials; what it leaves out is the building and decoding of objects, which
// would cost more than all else that a scheduler does for a pod.
type client struct {
	http *http.Client
	base *url.URL
}

func newClient(config *rest.Config) (*client, error) {
	config = rest.CopyConfig(config)
	if config.UserAgent == "" {
		config.UserAgent = "pintle-scheduler"
	}
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	return &client{http: h, base: base}, nil
}

// stream opens a request whose answer is read as it comes. The caller closes it.
func (c *client) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, failure(resp)
	}
	return resp.Body, nil
}

// post creates something; the answer's body is dropped.
func (c *client) post(ctx context.Context, path string, body []byte) error {
	return c.write(ctx, http.MethodPost, path, "application/json", body)
}

// patch changes something; the answer's body is dropped.
func (c *client) patch(ctx context.Context, path, contentType string, body []byte) error {
	return c.write(ctx, http.MethodPatch, path, contentType, body)
}

func (c *client) write(ctx context.Context, method, path, contentType string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for try := 1; ; try++ {
		resp, err := c.send(ctx, method, path, nil, contentType, body)
		if err != nil {
			return err
		}
		if resp.StatusCode < 300 {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			return err
		}
		after, putOff := retryAfter(resp)
		err = failure(resp)
		if !putOff || try > maxRetries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(after):
		}
	}
}

func retryAfter(resp *http.Response) (time.Duration, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, err == nil
}

func (c *client) send(ctx context.Context, method, path string, query url.Values, contentType string, body []byte) (*http.Response, error) {
	u := *c.base
	u.Path = joinPath(u.Path, path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return resp, nil
}

func joinPath(base, path string) string {
	for len(base) > 0 && base[len(base)-1] == '/' {
		base = base[:len(base)-1]
	}
	return base + path
}

// failure turns an answer that is not a success into a *StatusError.
func failure(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer %s: %w", resp.Status, err)
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(resp.StatusCode),
		Message: fmt.Sprintf("the server answered %s: %.200s", resp.Status, body),
	}}
}
