package controlplane

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/apiserver/connect"
	"github.com/pintle-dev/pintle/core/apiserver/conversion"
	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/apiserver/discovery"
	"github.com/pintle-dev/pintle/core/apiserver/openapi"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/auth/review"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func (s *Server) newAPI(reg *registry.Registry) error {
	tlsConfig, err := s.servingTLS()
	if err != nil {
		return err
	}
	toNodes, err := nodeTLS(s.authority)
	if err != nil {
		return err
	}
	streams, err := connect.New(connect.Config{Objects: s.store, TLS: toNodes, Logger: s.log})
	if err != nil {
		return err
	}
	configured := s.cfg.API.Limits
	limits := apiserver.Limits{
		BodyBytes: int64(configured.Body), MaxReads: configured.Reads, MaxWrites: configured.Writes,
		RequestTimeout: time.Duration(configured.RequestTimeout),
	}
	metrics := prometheus.NewRegistry()
	s.metrics = metrics
	if s.access.audit, err = s.newAudit(metrics); err != nil {
		return err
	}
	if err := s.newFairness(limits, metrics); err != nil {
		return err
	}
	s.aggregator = s.newAggregator(reg)
	cfg := apiserver.Config{
		Store: s.store, Registry: reg,
		Authenticator: s.access.authenticator, Authorizer: s.access.authorizer,
		Aggregator: s.aggregator,
		Conversion: func(d *crd.Definition) apiserver.VersionConverter {
			return conversion.New(d, backend.NewResolver(s.store))
		},
		Discovery: discovery.New(discovery.Config{Types: reg, Others: s.aggregator, Priority: priority, ServerAddress: s.cfg.API.Address()}),
		OpenAPI:   openapi.New(openapi.Config{Types: reg, Others: s.aggregator, Describe: kubeapi.Describe, Version: release.Kubernetes}),
		Connect: func(w http.ResponseWriter, r *http.Request, a auth.Attributes) {
			if a.Group == host.Group {
				s.servePluginLog(w, r, a, streams)
				return
			}
			streams.Serve(w, r, connect.Request{
				Resource: a.Resource, Subresource: a.Subresource, Namespace: a.Namespace, Name: a.Name, Path: a.Path,
			})
		},
		Handlers: map[string]http.Handler{
			tokens.ConfigurationPath: s.access.documents,
			tokens.JWKSPath:          s.access.documents,
		},
		GoTypes:           kubeapi.GoType,
		NamespaceResource: namespaces,
		Newest:            s.store,
		Profiling:         true,
		Fairness:          s.turns(), Limits: limits, Metrics: metrics,
		Audit: s.access.audit,
		TLS:   tlsConfig, Version: release.Info(), Ready: append(append(s.access.checks(), s.clusterCheck()), apiserver.Check{
			Name: "crds", Run: func(ctx context.Context) error { return s.types.Synced(ctx) },
		}), Logger: s.log,
	}
	s.addEncryption(&cfg)
	if err := s.addStorage(&cfg, metrics); err != nil {
		return err
	}
	maps.Copy(cfg.Handlers, s.cluster.Handlers())
	if err := s.addTracing(&cfg); err != nil {
		return err
	}
	if err := s.addBackups(&cfg, metrics); err != nil {
		return err
	}
	if err := s.addAdmission(&cfg, reg, metrics); err != nil {
		return err
	}
	builtin, err := s.addBuiltin(&cfg)
	if err != nil {
		return err
	}
	cfg.Validators = append([]admission.Validator{node.NewRestriction(s.access.authorizer)}, cfg.Validators...)
	if s.api, err = apiserver.New(cfg); err != nil {
		return err
	}
	kubernetes := kubeapi.New(kubeapi.Options{
		ServiceCIDRs:        []string{s.cfg.API.ServiceCIDR},
		Shared:              s.cfg.Cluster.Listen != "",
		ServiceAccountToken: review.TokenRequest(s.access.tokens),
		Writer:              s.api.Writer(),
		Creator:             s.api.Creator(),
		Admission:           builtin,
		RBACAdmission:       rbac.Guard(s.access.rbac, s.access.authorizer),
		CheckAdmission:      s.checkAdmission,
	})
	for _, b := range []resource.Bundle{
		kubernetes,
		customresources.Bundle(),
		corev1.Bundle(),
		review.New(review.Config{
			Authorizer: s.access.authorizer, Rules: s.access.rbac, Tokens: s.access.authenticator,
			Audiences: s.access.tokens.Audiences(), Schemas: kubeapi.Schema,
		}),
		s.pluginTypes(),
	} {
		if err := s.api.Install(b); err != nil {
			return err
		}
	}
	return nil
}
