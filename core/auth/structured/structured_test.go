package structured_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/authtest"
	"github.com/pintle-dev/pintle/core/auth/structured"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func write(t *testing.T, file, text string) string {
	t.Helper()
	if file == "" {
		file = filepath.Join(t.TempDir(), "config.yaml")
	}
	// As editors and mounted secrets do it: the file is never half there.
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

func authentication(version, rest string) string {
	return "apiVersion: apiserver.config.k8s.io/" + version + "\nkind: AuthenticationConfiguration\n" + rest
}

func issuer(p *authtest.Provider, prefix string) string {
	return fmt.Sprintf("- issuer: {url: %q, audiences: [k8s], certificateAuthority: %q}\n  claimMappings: {username: {claim: sub, prefix: %q}}\n", p.URL, p.CA(), prefix)
}

// eventually waits for what a change of a file brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s does not happen", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAuthenticationFollowsItsFile(t *testing.T) {
	p, other := authtest.NewProvider(t), authtest.NewProvider(t)
	file := write(t, "", authentication("v1", "anonymous: {enabled: true, conditions: [{path: /livez}]}\njwt:\n"+issuer(p, "a:")))
	ctx, cancel := context.WithCancel(t.Context())
	a, err := structured.NewAuthentication(ctx, structured.AuthenticationConfig{File: file, Retry: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	enabled, paths, said := a.Anonymous()
	if !enabled || !said || len(paths) != 1 {
		t.Error(enabled, paths, said)
	}
	who := func(p *authtest.Provider) string {
		u, _, _ := a.AuthenticateToken(ctx, p.Token(map[string]any{"sub": "jane", "aud": "k8s"}), nil)
		return u.User.Name
	}
	eventually(t, "the first provider is known", func() bool { return who(p) == "a:jane" })
	if who(other) != "" {
		t.Error("a provider that is not in the file is believed")
	}
	const anonymous = "anonymous: {enabled: true, conditions: [{path: /livez}]}\n"
	write(t, file, authentication("v1beta1", anonymous+"jwt:\n"+issuer(p, "b:")+issuer(other, "o:")))
	eventually(t, "the second provider is known", func() bool { return who(other) == "o:jane" })
	if got := who(p); got != "b:jane" {
		t.Errorf("the first is %q", got)
	}
	// Changes that are no good change nothing; the last one is good again.
	for _, bad := range []string{"jwt: [", authentication("v1", anonymous+"jwt: [{issuer: {url: http://insecure}}]"), authentication("v1", "anonymous: {enabled: false}")} {
		write(t, file, bad)
	}
	write(t, file, authentication("v1", anonymous+"jwt:\n"+issuer(other, "z:")))
	eventually(t, "the last change is in force", func() bool { return who(other) == "z:jane" })
	if got := who(p); got != "" {
		t.Errorf("an issuer that was taken out is believed: %q", got)
	}
}

func TestBadAuthentication(t *testing.T) {
	const mapping = ", claimMappings: {username: {claim: sub, prefix: ''}}"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "'Kind' is missing"},
		{"kind", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n", "expected AuthenticationConfiguration"},
		{"unknown field", authentication("v1", "jwt: [{issuers: {}}]"), `unknown field "jwt[0].issuers"`},
		{"insecure issuer", authentication("v1", "jwt: [{issuer: {url: 'http://a', audiences: [b]}"+mapping+"}]"), "jwt[0].issuer.url"},
		{"own issuer", authentication("v1", "jwt: [{issuer: {url: 'https://own', audiences: [b]}"+mapping+"}]"), "URL must not overlap with disallowed issuers"},
		{"no audience", authentication("v1", "jwt: [{issuer: {url: 'https://a'}"+mapping+"}]"), "jwt[0].issuer.audiences"},
		{"issuer twice", authentication("v1", "jwt: [{issuer: {url: 'https://a', audiences: [b]}"+mapping+"}, {issuer: {url: 'https://a', audiences: [b]}"+mapping+"}]"), "Duplicate value"},
		{"expression", authentication("v1", "jwt: [{issuer: {url: 'https://a', audiences: [b]}, claimMappings: {username: {expression: 'claims.'}}}]"), "jwt[0].claimMappings.username.expression"},
		{"conditions without anonymous", authentication("v1", "anonymous: {enabled: false, conditions: [{path: /x}]}"), "anonymous.conditions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := structured.NewAuthentication(t.Context(), structured.AuthenticationConfig{File: write(t, "", c.text), OwnIssuers: []string{"https://own"}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// only allows one user.
type only string

func (o only) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.User.Name == string(o), "not " + string(o), nil
}

func authorization(list string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n" + list
}

func TestAuthorizationFollowsItsFile(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		in.Status = authorizationv1.SubjectAccessReviewStatus{Denied: in.Spec.User == "rbac", Allowed: in.Spec.User == "hook"}
		_ = json.NewEncoder(w).Encode(in)
	}))
	defer s.Close()
	hook := "- {type: Webhook, name: hook, webhook: {timeout: 3s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: " +
		authtest.Kubeconfig(t, s, "") + "}, matchConditions: [{expression: \"request.user != 'skipped'\"}]}}\n"
	file := write(t, "", authorization(hook+"- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n"))
	ctx, cancel := context.WithCancel(t.Context())
	a, err := structured.NewAuthorization(structured.AuthorizationConfig{File: file, Node: only("node"), RBAC: only("rbac"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	allowed := func(user string) bool {
		ok, _, _ := a.Authorize(ctx, auth.Attributes{User: resource.User{Name: user}, Verb: "get", Resource: "pods"})
		return ok
	}
	for user, want := range map[string]bool{"hook": true, "node": true, "rbac": false, "skipped": false, "other": false} {
		if allowed(user) != want {
			t.Errorf("%s: want %v", user, want)
		}
	}
	write(t, file, authorization("- {type: Nobody, name: x}\n"))
	write(t, file, authorization("- {type: RBAC, name: rbac}\n"+hook))
	eventually(t, "RBAC comes first", func() bool { return allowed("rbac") })
	if allowed("node") {
		t.Error("an authorizer that was taken out is asked")
	}
}

func TestBadAuthorization(t *testing.T) {
	hook := func(rest string) string {
		return authorization("- {type: Webhook, name: hook, webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, " + rest + "}}\n")
	}
	for _, c := range []struct{ name, text, want string }{
		{"nobody", authorization(""), "at least one authorization mode must be defined"},
		{"unknown type", authorization("- {type: ABAC, name: a}\n"), `authorizers[0].type: Unsupported value: "ABAC"`},
		{"twice", authorization("- {type: RBAC, name: a}\n- {type: RBAC, name: b}\n"), "Duplicate value"},
		{"relative path", hook("connectionInfo: {type: KubeConfigFile, kubeConfigFile: a}"), "must be an absolute path"},
		{"in-cluster", hook("connectionInfo: {type: InClusterConfig}"), "connectionInfo.type"},
		{"unknown field", hook("ttl: 3s"), "unknown field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := structured.NewAuthorization(structured.AuthorizationConfig{File: write(t, "", c.text)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
