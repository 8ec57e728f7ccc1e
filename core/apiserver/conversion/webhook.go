package conversion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/crd"
)

const (
	// timeout of one review.
	timeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 20
	// userAgent by which webhooks know who asks.
	userAgent = "kube-apiserver-admission"
	// maxErrorText of an answer that is no success is told.
	maxErrorText = 2048
)

// Webhook converts the objects of one type.
type Webhook struct {
	url    string
	client *http.Client
	// reviews are the versions of ConversionReview that the webhook understands.
	reviews []string
	broken  error
}

// New returns the converter of a definition whose strategy is Webhook. Where it can't be
// called, conversions say so.
func New(d *crd.Definition, resolver *backend.Resolver) *Webhook {
	w := &Webhook{}
	var spec apiextensionsv1.WebhookConversion
	if err := json.Unmarshal(d.Conversion.Webhook, &spec); err != nil {
		w.broken = fmt.Errorf("decode spec.conversion.webhook: %w", err)
		return w
	}
	w.reviews = spec.ConversionReviewVersions
	if spec.ClientConfig == nil {
		w.broken = errors.New("spec.conversion.webhook.clientConfig is missing")
		return w
	}
	var service *backend.Service
	w.url, service, w.broken = target(spec.ClientConfig)
	if w.broken != nil {
		return w
	}
	transport, err := resolver.Transport(service, backend.Trust{CABundle: spec.ClientConfig.CABundle}, false)
	if err != nil {
		w.broken = err
		return w
	}
	w.client = &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w
}

// target returns where reviews are sent, and the Service that is there, if it is one.
func target(c *apiextensionsv1.WebhookClientConfig) (string, *backend.Service, error) {
	query := url.Values{"timeout": {timeout.String()}}.Encode()
	if s := c.Service; s != nil {
		service := &backend.Service{Namespace: s.Namespace, Name: s.Name, Port: 443}
		if s.Port != nil {
			service.Port = *s.Port
		}
		u := url.URL{Scheme: "https", Host: net.JoinHostPort(service.Host(), strconv.Itoa(int(service.Port))), RawQuery: query}
		if s.Path != nil {
			u.Path = *s.Path
		}
		return u.String(), service, nil
	}
	if c.URL == nil {
		return "", nil, errors.New("webhook configuration must have either service or URL")
	}
	u, err := url.Parse(*c.URL)
	if err != nil {
		return "", nil, fmt.Errorf("unparsable webhook URL: %w", err)
	}
	if u.RawQuery == "" {
		u.RawQuery = query
	}
	return u.String(), nil, nil
}

// Convert converts objects in one review. It returns one object for each, in their order;
// those that are in the version already come back as they are. Results share nothing with
// what was given but values of metadata.
func (w *Webhook) Convert(ctx context.Context, objects []map[string]any, to schema.GroupVersionKind) ([]map[string]any, error) {
	apiVersion := to.GroupVersion().String()
	out := make([]map[string]any, len(objects))
	var at []int
	for i, o := range objects {
		if o["apiVersion"] == apiVersion {
			out[i] = o
			continue
		}
		at = append(at, i)
	}
	if len(at) == 0 {
		return out, nil
	}
	from := schema.FromAPIVersionAndKind(text(objects[at[0]], "apiVersion"), text(objects[at[0]], "kind"))
	if w.broken != nil {
		return nil, fmt.Errorf("conversion webhook for %v failed: %w", from, w.broken)
	}
	raw := make([]runtime.RawExtension, len(at))
	for n, i := range at {
		data, err := json.Marshal(objects[i])
		if err != nil {
			return nil, fmt.Errorf("conversion webhook for %v failed: %w", from, err)
		}
		raw[n].Raw = data
	}
	converted, err := w.review(ctx, raw, apiVersion)
	if err != nil {
		return nil, fmt.Errorf("conversion webhook for %v failed: %w", from, err)
	}
	if len(converted) != len(at) {
		return nil, fmt.Errorf("conversion webhook for %v returned %d objects, expected %d", from, len(converted), len(at))
	}
	for n, i := range at {
		if out[i], err = accept(objects[i], converted[n].Raw, to); err != nil {
			return nil, fmt.Errorf("conversion webhook for %v returned %s: %w", from, invalid(err, n, len(objects) == 1), err)
		}
	}
	return out, nil
}

// review asks the webhook.
func (w *Webhook) review(ctx context.Context, objects []runtime.RawExtension, apiVersion string) ([]runtime.RawExtension, error) {
	version := ""
	for _, v := range w.reviews {
		if v == "v1" || v == "v1beta1" {
			version = v
			break
		}
	}
	if version == "" {
		return nil, errors.New("no supported conversion review versions")
	}
	gv := schema.GroupVersion{Group: apiextensionsv1.GroupName, Version: version}
	uid := types.UID(uuid.NewString())
	body, err := json.Marshal(&apiextensionsv1.ConversionReview{
		TypeMeta: metav1.TypeMeta{Kind: "ConversionReview", APIVersion: gv.String()},
		Request:  &apiextensionsv1.ConversionRequest{UID: uid, DesiredAPIVersion: apiVersion, Objects: objects},
		Response: &apiextensionsv1.ConversionResponse{},
	})
	if err != nil {
		return nil, err
	}
	answer, err := w.post(ctx, body)
	if err != nil {
		return nil, err
	}
	var review apiextensionsv1.ConversionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, err
	}
	// The first version of reviews did not ask webhooks to repeat these.
	if want := gv.WithKind("ConversionReview"); version != "v1beta1" && review.GroupVersionKind() != want {
		return nil, fmt.Errorf("expected webhook response of %v, got %v", want, review.GroupVersionKind())
	}
	r := review.Response
	switch {
	case r == nil:
		return nil, errors.New("no response provided")
	case version != "v1beta1" && r.UID != uid:
		return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, r.UID)
	case r.Result.Status != metav1.StatusSuccess && r.Result.Message != "":
		return nil, errors.New(r.Result.Message)
	case r.Result.Status != metav1.StatusSuccess:
		return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", r.Result.Status)
	}
	return r.ConvertedObjects, nil
}

func (w *Webhook) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, */*")
	req.Header.Set("User-Agent", userAgent)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode > http.StatusPartialContent {
		said := "unknown"
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") {
			said = strings.TrimSpace(string(answer[:min(len(answer), maxErrorText)]))
		}
		return nil, apierrors.NewGenericServerResponse(resp.StatusCode, http.MethodPost, schema.GroupResource{}, "", said, 0, true)
	}
	return answer, nil
}

func text(o map[string]any, key string) string {
	s, _ := o[key].(string)
	return s
}
