package tokens

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Paths of the issuer's public documents.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	JWKSPath          = "/openid/v1/jwks"
)

// Handler serves the OpenID provider configuration and the public keys, by which others
// verify the cluster's tokens. jwksURI is where the keys are reached from outside; empty
// means JWKSPath below the issuer.
func (s *Service) Handler(jwksURI string) (http.Handler, error) {
	if jwksURI == "" {
		jwksURI = strings.TrimSuffix(s.issuer, "/") + JWKSPath
	}
	configuration, err := json.Marshal(map[string]any{
		"issuer":                                s.issuer,
		"jwks_uri":                              jwksURI,
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
	if err != nil {
		return nil, fmt.Errorf("openid configuration: %w", err)
	}
	jwks, err := s.keys.jwks()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ConfigurationPath, serve("application/json", configuration))
	mux.HandleFunc("GET "+JWKSPath, serve("application/jwk-set+json", jwks))
	return mux, nil
}

func serve(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(body) // the client has gone; there is nobody to tell
	}
}

// jwks returns the public keys as a JSON Web Key Set.
func (k *Keys) jwks() ([]byte, error) {
	type jwk struct {
		Use string `json:"use"`
		Kty string `json:"kty"`
		Kid string `json:"kid"`
		Crv string `json:"crv"`
		Alg string `json:"alg"`
		X   string `json:"x"`
		Y   string `json:"y"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, id := range k.ids {
		// The uncompressed point: 0x04, X, Y, 32 bytes each on P-256.
		point, err := k.verify[id].Bytes()
		if err != nil {
			return nil, fmt.Errorf("public key %s: %w", id, err)
		}
		set.Keys = append(set.Keys, jwk{Use: "sig", Kty: "EC", Kid: id, Crv: "P-256", Alg: "ES256",
			X: base64.RawURLEncoding.EncodeToString(point[1:33]), Y: base64.RawURLEncoding.EncodeToString(point[33:])})
	}
	data, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return data, nil
}
