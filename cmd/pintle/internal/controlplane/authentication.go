package controlplane

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/bootstraptoken"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/requestheader"
	"github.com/pintle-dev/pintle/core/auth/structured"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/auth/webhook"
	"github.com/pintle-dev/pintle/core/cluster"
)

// authenticate makes the authenticator, of what is configured: what is known locally first,
// then what others have to be asked about.
func (a *access) authenticate(s *Server, group *errgroup.Group, ctx context.Context) error { //nolint:revive // errgroup's context belongs to the group before it
	api := &s.cfg.API
	own := a.tokens.Audiences()
	cfg := auth.Config{
		ClientCAs: s.authority.Pool(), Anonymous: api.Anonymous,
		Tokens: []auth.TokenAuthenticator{auth.ForServer(s.tokens, own), a.tokens},
	}
	if s.cfg.Cluster.Listen != "" {
		cfg.Tokens = append(cfg.Tokens, auth.ForServer(cluster.NewTokenAuthenticator(s.store), own))
	}
	if api.BootstrapTokens {
		cfg.Tokens = append(cfg.Tokens, auth.ForServer(bootstraptoken.New(s.store, nil, s.log), own))
	}
	if api.AuthenticationConfig != "" {
		issuer := api.ServiceAccountIssuer
		if issuer == "" {
			issuer = tokens.DefaultIssuer
		}
		configured, err := structured.NewAuthentication(ctx, structured.AuthenticationConfig{
			File: api.AuthenticationConfig, OwnIssuers: []string{issuer}, Logger: s.log,
		})
		if err != nil {
			return fmt.Errorf("api.authenticationConfig: %w", err)
		}
		if enabled, paths, said := configured.Anonymous(); said {
			cfg.Anonymous, cfg.AnonymousPaths = enabled, paths
		}
		cfg.Tokens = append(cfg.Tokens, auth.ForServer(configured, own))
		group.Go(func() error { return configured.Run(ctx) })
	}
	if hook := api.TokenWebhook; hook.ConfigFile != "" {
		t, err := webhook.NewToken(webhook.TokenConfig{Kubeconfig: hook.ConfigFile, TTL: time.Duration(hook.CacheTTL), Audiences: own})
		if err != nil {
			return fmt.Errorf("api.tokenWebhook: %w", err)
		}
		cfg.Tokens = append(cfg.Tokens, t)
	}
	a.plugins.addAuthenticators(s, &cfg, own)
	if h := api.RequestHeader; h.ClientCA != "" {
		proxies, err := frontProxies(h)
		if err != nil {
			return fmt.Errorf("api.requestHeader: %w", err)
		}
		cfg.FrontProxy = proxies
	}
	a.authenticator = auth.New(cfg)
	return nil
}

func frontProxies(h config.RequestHeader) (*requestheader.Authenticator, error) {
	pem, err := os.ReadFile(h.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("clientCA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("clientCA: %s has no certificate in it", h.ClientCA)
	}
	return requestheader.New(requestheader.Config{
		CAs: pool, AllowedNames: h.AllowedNames, UsernameHeaders: h.UsernameHeaders, UIDHeaders: h.UIDHeaders,
		GroupHeaders: h.GroupHeaders, ExtraPrefixes: h.ExtraHeaderPrefixes,
	})
}

// authorize makes the authorizer.
func (a *access) authorize(s *Server, group *errgroup.Group, ctx context.Context) error { //nolint:revive // as above
	nodes := node.New(s.store)
	file := s.cfg.API.AuthorizationConfig
	if file == "" {
		a.authorizer = a.plugins.addAuthorizers(s, auth.Union{nodes, a.rbac})
		return nil
	}
	configured, err := structured.NewAuthorization(structured.AuthorizationConfig{File: file, Node: nodes, RBAC: a.rbac, Logger: s.log})
	if err != nil {
		return fmt.Errorf("api.authorizationConfig: %w", err)
	}
	a.authorizer = a.plugins.addAuthorizers(s, configured)
	group.Go(func() error { return configured.Run(ctx) })
	return nil
}

// newAudit opens the audit log, if there is a policy.
func (s *Server) newAudit(metrics prometheus.Registerer) (*audit.Auditor, error) {
	cfg := s.cfg.API.Audit
	if cfg.PolicyFile == "" {
		return nil, nil
	}
	policy, err := audit.LoadPolicy(cfg.PolicyFile)
	if err != nil {
		return nil, fmt.Errorf("api.audit.policyFile: %w", err)
	}
	var sinks []audit.Sink
	if l := cfg.Log; l.Path != "" {
		sink, err := audit.OpenLog(audit.LogConfig{Path: l.Path, MaxAge: l.MaxAge, MaxBackups: l.MaxBackups, MaxSize: l.MaxSize})
		if err != nil {
			return nil, fmt.Errorf("api.audit.log: %w", err)
		}
		bounded := truncated(sink, l.Truncate)
		if l.Strict {
			bounded = audit.Strict(bounded)
		}
		sinks = append(sinks, bounded)
	}
	if w := cfg.Webhook; w.ConfigFile != "" {
		sink, err := audit.OpenWebhook(audit.WebhookConfig{Kubeconfig: w.ConfigFile, MaxWait: time.Duration(w.MaxWait), Logger: s.log})
		if err != nil {
			return nil, fmt.Errorf("api.audit.webhook: %w", err)
		}
		sinks = append(sinks, truncated(sink, w.Truncate))
	}
	return audit.New(audit.Config{Policy: policy, Sinks: sinks, Metrics: metrics, Logger: s.log})
}

func truncated(s audit.Sink, t config.AuditTruncate) audit.Sink {
	if !t.Enabled {
		return s
	}
	return audit.Truncate(s, int(t.MaxEventSize))
}

// serve calls the API server's Serve and keeps the audit log running until it has returned.
func (a *access) serve(ctx context.Context, serve func() error) error {
	if a.audit == nil {
		return serve()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	delivered := make(chan error, 1)
	go func() { delivered <- a.audit.Run(ctx) }()
	err := serve()
	stop()
	return errors.Join(err, <-delivered)
}

// Where extension API servers find out how to authenticate requests.
const (
	authenticationNamespace = metav1.NamespaceSystem
	authenticationName      = "extension-apiserver-authentication"
)

// ensureAuthenticationInfo writes the ConfigMap by which extension API servers know clients'
// certificates and the front proxies that may speak for others: this server, and those that
// are configured.
func (s *Server) ensureAuthenticationInfo(ctx context.Context, client kubernetes.Interface) error {
	proxy, err := s.authority.FrontProxy()
	if err != nil {
		return err
	}
	h := s.cfg.API.RequestHeader
	proxyCAs, names := string(proxy.CAPEM()), []string{pki.FrontProxyUser}
	if h.ClientCA != "" {
		more, err := os.ReadFile(h.ClientCA)
		if err != nil {
			return fmt.Errorf("api.requestHeader.clientCA: %w", err)
		}
		if !strings.Contains(string(more), proxyCAs) {
			proxyCAs += string(more)
		}
		names = append(names, h.AllowedNames...)
		slices.Sort(names)
		if names = slices.Compact(names); len(h.AllowedNames) == 0 {
			names = nil // any
		}
	}
	data := map[string]string{
		"client-ca-file":               string(s.authority.CAPEM()),
		"requestheader-client-ca-file": proxyCAs,
	}
	for key, list := range map[string][]string{
		"allowed-names": names, "username-headers": h.UsernameHeaders, "group-headers": h.GroupHeaders,
		"uid-headers": h.UIDHeaders, "extra-headers-prefix": h.ExtraHeaderPrefixes,
	} {
		if list == nil {
			list = []string{}
		}
		text, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		data["requestheader-"+key] = string(text)
	}
	maps := client.CoreV1().ConfigMaps(authenticationNamespace)
	want := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: authenticationName, Namespace: authenticationNamespace}, Data: data}
	_, err = maps.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = maps.Update(ctx, want, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("config map %s/%s: %w", authenticationNamespace, authenticationName, err)
	}
	return nil
}
