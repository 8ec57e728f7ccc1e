package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
)

// distributed resolves a claim that the token does not have but says where to ask for
// (OpenID Connect Core 1.0, section 5.6.2).
type distributed struct {
	claim     string
	client    *http.Client
	config    *oidc.Config
	audiences []string

	mu        sync.Mutex
	verifiers map[string]*oidc.IDTokenVerifier // by issuer
}

// source of a claim. One with a JWT instead of an endpoint is aggregated, not distributed.
type source struct {
	Endpoint    string `json:"endpoint"`
	AccessToken string `json:"access_token"`
}

// maxClaim bounds what an endpoint may answer.
const maxClaim = 1 << 20

// expand puts the claim in its place in c, if there is such a source of it.
func (d *distributed) expand(ctx context.Context, c claims) error {
	if _, ok := c[d.claim]; ok {
		return nil
	}
	if _, ok := c["_claim_names"]; !ok {
		return nil
	}
	names := map[string]string{}
	if err := c.read("_claim_names", &names); err != nil {
		return fmt.Errorf("error parsing distributed claim names: %w", err)
	}
	sources := map[string]source{}
	if err := c.read("_claim_sources", &sources); err != nil {
		return fmt.Errorf("could not parse claim sources: %w", err)
	}
	name, ok := names[d.claim]
	if !ok {
		return nil
	}
	s, ok := sources[name]
	if !ok {
		return fmt.Errorf("id token _claim_names contained a source %s missing in _claims_sources", name)
	}
	if s.Endpoint == "" {
		return nil
	}
	value, err := d.resolve(ctx, s)
	if err != nil {
		return fmt.Errorf("claim %q from %s: %w", d.claim, s.Endpoint, err)
	}
	c[d.claim] = value
	return nil
}

func (d *distributed) resolve(ctx context.Context, s source) (json.RawMessage, error) {
	token, err := d.fetch(ctx, s)
	if err != nil {
		return nil, err
	}
	issuer, ok := issuerOf(token)
	if !ok {
		return nil, errors.New("the answer is no token")
	}
	v, err := d.verifier(ctx, issuer)
	if err != nil {
		return nil, err
	}
	c, err := verifiedClaims(ctx, v, token, d.audiences)
	if err != nil {
		return nil, err
	}
	value, ok := c[d.claim]
	if !ok {
		return nil, errors.New("the token in the answer does not have it")
	}
	return value, nil
}

func (d *distributed) fetch(ctx context.Context, s source) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint, nil)
	if err != nil {
		return "", err
	}
	if s.AccessToken != "" {
		req.Header.Set("Authorization", "Bearer "+s.AccessToken)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxClaim))
	return string(body), err
}

func (d *distributed) verifier(ctx context.Context, issuer string) (*oidc.IDTokenVerifier, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.verifiers[issuer]; ok {
		return v, nil
	}
	// Keys are fetched again later, when this request is long over.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), d.client)
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", issuer, err)
	}
	if d.verifiers == nil {
		d.verifiers = map[string]*oidc.IDTokenVerifier{}
	}
	v := provider.VerifierContext(ctx, d.config)
	d.verifiers[issuer] = v
	return v, nil
}
