package bootstraptoken_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/auth/bootstraptoken"
	"github.com/pintle-dev/pintle/core/store"
)

type secrets map[string]map[string]any

var errBroken = errors.New("broken")

func (s secrets) Get(_ context.Context, key store.Key) (store.Object, error) {
	o, ok := s[string(key)]
	if !ok {
		return store.Object{}, store.ErrNotFound
	}
	if o == nil {
		return store.Object{}, errBroken
	}
	data, err := json.Marshal(o)
	return store.Object{Data: data}, err
}

func TestTokens(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const token = "abcdef.0123456789abcdef"
	for _, c := range []struct {
		name, token string
		change      func(secret map[string]any, data map[string]string)
		groups      string // "" means refused
	}{
		{"good", token, nil, "[system:bootstrappers]"},
		{"extra groups", token, func(_ map[string]any, d map[string]string) {
			d["auth-extra-groups"] = "system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:b"
		}, "[system:bootstrappers system:bootstrappers:kubeadm:default-node-token system:bootstrappers:b]"},
		{"groups of others", token, func(_ map[string]any, d map[string]string) { d["auth-extra-groups"] = "system:masters" }, ""},
		{"group without a name", token, func(_ map[string]any, d map[string]string) { d["auth-extra-groups"] = "system:bootstrappers:" }, ""},
		{"group that ends badly", token, func(_ map[string]any, d map[string]string) { d["auth-extra-groups"] = "system:bootstrappers:a-" }, ""},
		{"group in upper case", token, func(_ map[string]any, d map[string]string) { d["auth-extra-groups"] = "system:bootstrappers:A" }, ""},
		{"not yet expired", token, func(_ map[string]any, d map[string]string) {
			d["expiration"] = now.Add(time.Second).Format(time.RFC3339)
		}, "[system:bootstrappers]"},
		{"expired", token, func(_ map[string]any, d map[string]string) { d["expiration"] = now.Format(time.RFC3339) }, ""},
		{"expires some day", token, func(_ map[string]any, d map[string]string) { d["expiration"] = "some day" }, ""},
		{"for signing only", token, func(_ map[string]any, d map[string]string) { delete(d, "usage-bootstrap-authentication") }, ""},
		{"other secret", "abcdef.0123456789abcdee", nil, ""},
		{"no secret in it", token, func(_ map[string]any, d map[string]string) { delete(d, "token-secret") }, ""},
		{"other ID in it", token, func(_ map[string]any, d map[string]string) { d["token-id"] = "fedcba" }, ""},
		{"other type", token, func(s map[string]any, _ map[string]string) { s["type"] = "Opaque" }, ""},
		{"being deleted", token, func(s map[string]any, _ map[string]string) { s["metadata"] = map[string]any{"deletionTimestamp": "x"} }, ""},
		{"unknown", "aaaaaa.0123456789abcdef", nil, ""},
		{"upper case", "ABCDEF.0123456789abcdef", nil, ""},
		{"another sort", "eyJ.x.y", nil, ""},
		{"with a newline", token + "\n", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret := map[string]any{"type": "bootstrap.kubernetes.io/token"}
			data := map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
			if c.change != nil {
				c.change(secret, data)
			}
			encoded := map[string]string{}
			for k, v := range data {
				encoded[k] = base64.StdEncoding.EncodeToString([]byte(v))
			}
			secret["data"] = encoded
			a := bootstraptoken.New(secrets{"secrets/kube-system/bootstrap-token-abcdef": secret}, func() time.Time { return now }, slog.New(slog.DiscardHandler))
			u, ok, err := a.AuthenticateToken(t.Context(), c.token, nil)
			if err != nil || ok != (c.groups != "") {
				t.Fatal(u, ok, err)
			}
			if ok && (u.User.Name != "system:bootstrap:abcdef" || fmt.Sprint(u.User.Groups) != c.groups) {
				t.Errorf("%+v, want groups %s", u.User, c.groups)
			}
		})
	}
	a := bootstraptoken.New(secrets{"secrets/kube-system/bootstrap-token-abcdef": nil}, nil, nil)
	if _, ok, err := a.AuthenticateToken(t.Context(), token, nil); ok || !errors.Is(err, errBroken) {
		t.Errorf("a store that can't be read: %v %v", ok, err)
	}
}
