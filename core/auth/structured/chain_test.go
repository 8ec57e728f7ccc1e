package structured_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/bootstraptoken"
	"github.com/pintle-dev/pintle/core/auth/internal/authtest"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/requestheader"
	"github.com/pintle-dev/pintle/core/auth/review"
	"github.com/pintle-dev/pintle/core/auth/structured"
	"github.com/pintle-dev/pintle/core/auth/webhook"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
)

// TestTheWholeChain asks an API server over TLS who it takes its clients for, with everything
// that may say so in front of it.
func TestTheWholeChain(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	st := storetest.Open(t)
	// data: token-id abcdef, token-secret 0123456789abcdef, usage-bootstrap-authentication true
	if _, err := st.Write(t.Context(), store.Write{Key: "secrets/kube-system/bootstrap-token-abcdef", Data: []byte(
		`{"metadata":{"name":"bootstrap-token-abcdef"},"type":"bootstrap.kubernetes.io/token","data":{"token-id":"YWJjZGVm","token-secret":"MDEyMzQ1Njc4OWFiY2RlZg==","usage-bootstrap-authentication":"dHJ1ZQ=="}}`)}); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Open(pki.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	front, err := ca.FrontProxy()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ca.Admin()
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.Serving(pki.Server{})
	if err != nil {
		t.Fatal(err)
	}
	provider := authtest.NewProvider(t)
	oidc, err := structured.NewAuthentication(t.Context(), structured.AuthenticationConfig{Retry: 10 * time.Millisecond, Logger: log,
		File: write(t, "", authentication("v1", "anonymous: {enabled: true, conditions: [{path: /livez}]}\njwt:\n"+issuer(provider, "oidc:")))})
	if err != nil {
		t.Fatal(err)
	}
	hooks := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Kind string
			Spec struct{ Token, User string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		if in.Kind == "TokenReview" {
			_ = json.NewEncoder(w).Encode(authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{
				Authenticated: in.Spec.Token == "hooked", User: authenticationv1.UserInfo{Username: "hooked"}}})
			return
		}
		_ = json.NewEncoder(w).Encode(authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{
			Denied: in.Spec.User == "foe", Allowed: in.Spec.User != "foe", Reason: "the hook says so"}})
	}))
	defer hooks.Close()
	tokens, err := webhook.NewToken(webhook.TokenConfig{Kubeconfig: authtest.Kubeconfig(t, hooks, "/authn"), Audiences: []string{"api"}})
	if err != nil {
		t.Fatal(err)
	}
	authorizer, err := structured.NewAuthorization(structured.AuthorizationConfig{Node: only("nobody"), RBAC: only("foe"), Logger: log, File: write(t, "", authorization(
		"- {type: Webhook, name: hook, webhook: {timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: "+
			authtest.Kubeconfig(t, hooks, "/authz")+"}}}\n- {type: RBAC, name: rbac}\n"))})
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := requestheader.New(requestheader.Config{CAs: front.Pool(), UsernameHeaders: []string{"X-Remote-User"}, GroupHeaders: []string{"X-Remote-Group"}})
	if err != nil {
		t.Fatal(err)
	}
	enabled, paths, _ := oidc.Anonymous()
	authenticator := auth.New(auth.Config{
		ClientCAs: ca.Pool(), FrontProxy: proxies, Anonymous: enabled, AnonymousPaths: paths,
		Tokens: []auth.TokenAuthenticator{auth.ForServer(bootstraptoken.New(st, nil, log), []string{"api"}), auth.ForServer(oidc, []string{"api"}), tokens},
	})
	policy, err := audit.ParsePolicy([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "", "")
	sink, err := audit.OpenLog(audit.LogConfig{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	auditor, err := audit.New(audit.Config{Policy: policy, Sinks: []audit.Sink{sink}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	api, err := apiserver.New(apiserver.Config{Store: st, Registry: registry.New(), Authenticator: authenticator, Authorizer: authorizer, Audit: auditor, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Install(review.New(review.Config{Authorizer: authorizer, Rules: nil, Tokens: authenticator, Audiences: []string{"api"}})); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(api)
	s.TLS = pki.ServerTLS(serving)
	s.StartTLS()
	defer s.Close()

	oidcToken := provider.Token(map[string]any{"sub": "jane", "aud": "k8s"})
	eventually(t, "the provider is known", func() bool {
		_, ok, _ := oidc.AuthenticateToken(t.Context(), oidcToken, nil)
		return ok
	})
	const whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	for _, c := range []struct {
		name, method, path string
		cert               *pki.Pair
		header             []string
		code               int
		want               string
	}{
		{"certificate", "POST", whoami, &admin, nil, 201, `"username":"kubernetes-admin"`},
		{"ID token", "POST", whoami, nil, []string{"Authorization", "Bearer " + oidcToken}, 201, `"username":"oidc:jane"`},
		{"ID token for others", "POST", whoami, nil, []string{"Authorization", "Bearer " + provider.Token(map[string]any{"sub": "jane", "aud": "web"})}, 401, "Unauthorized"},
		{"bootstrap token", "POST", whoami, nil, []string{"Authorization", "Bearer abcdef.0123456789abcdef"}, 201, `"groups":["system:bootstrappers","system:authenticated"]`},
		{"token that the hook knows", "POST", whoami, nil, []string{"Authorization", "Bearer hooked"}, 201, `"username":"hooked"`},
		{"token that nobody knows", "POST", whoami, nil, []string{"Authorization", "Bearer nonsense"}, 401, "Unauthorized"},
		{"front proxy", "POST", whoami, &front.Client, []string{"X-Remote-User", "bob", "X-Remote-Group", "dev"}, 201, `"groups":["dev","system:authenticated"],"username":"bob"`},
		{"front proxy for one who is denied", "POST", whoami, &front.Client, []string{"X-Remote-User", "foe"}, 403, "the hook says so"},
		{"front proxy by itself", "POST", whoami, &front.Client, nil, 401, "Unauthorized"},
		{"headers without a proxy's certificate", "POST", whoami, &admin, []string{"X-Remote-User", "bob"}, 201, `"username":"kubernetes-admin"`},
		{"anonymous where it may be", "GET", "/livez", nil, nil, 200, "ok"},
		{"anonymous elsewhere", "GET", "/version", nil, nil, 401, "Unauthorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := &tls.Config{RootCAs: ca.Pool()}
			if c.cert != nil {
				conf.Certificates = []tls.Certificate{c.cert.TLS()}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
			defer client.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, c.method, s.URL+c.path, strings.NewReader(map[string]string{"POST": "{}"}[c.method]))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Audit-ID", c.name)
			for i := 0; i < len(c.header); i += 2 {
				req.Header.Set(c.header[i], c.header[i+1])
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.code || !strings.Contains(string(body), c.want) {
				t.Fatalf("%d %s %v, want %d and %s", resp.StatusCode, body, err, c.code, c.want)
			}
			if resp.Header.Get("Audit-ID") != c.name {
				t.Error("the request's ID is not in the answer")
			}
		})
	}
	s.Close() // waits for requests: their last events are written after the answers
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"auditID":"bootstrap token","stage":"ResponseComplete"`, `"username":"system:bootstrap:abcdef"`,
		`"stage":"ResponseStarted","requestURI":"/version","verb":"get","user":{}`, `"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":"the hook says so"`} {
		if !strings.Contains(string(recorded), want) {
			t.Errorf("the audit log does not have %s", want)
		}
	}
}
