package inprocess

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/plugins"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/apiserver/conversion"
	pintlev1 "github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/apiserver/customresources"
	"github.com/pintle-dev/pintle/core/apiserver/discovery"
	"github.com/pintle-dev/pintle/core/apiserver/openapi"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/rbac"
	"github.com/pintle-dev/pintle/core/auth/rbac/bootstrap"
	"github.com/pintle-dev/pintle/core/auth/review"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	kubeadmission "github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// kubernetesVersion is the version of the API that is spoken.
const kubernetesVersion = "v1.36.3"

// newAPI makes the API server and what it asks.
func (c *Core) newAPI(reg *registry.Registry) error {
	authenticator, authorizer, err := c.newAccess()
	if err != nil {
		return err
	}
	pair, err := c.authority.Serving(pki.Server{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		return err
	}
	c.others = c.aggregator(reg)
	cfg := apiserver.Config{
		Registry: reg, Authenticator: authenticator, Authorizer: authorizer,
		Conversion: func(d *crd.Definition) apiserver.VersionConverter {
			return conversion.New(d, backend.NewResolver(c.store))
		},
		OpenAPI: openapi.New(openapi.Config{Types: reg, Others: c.others, Describe: kubeapi.Describe, Version: kubernetesVersion}),
		Limits:  apiserver.Limits{ShutdownTimeout: 50 * time.Millisecond},
		TLS:     pki.ServerTLS(pair),
		Version: version.Info{Major: "1", Minor: "36", GitVersion: kubernetesVersion + "+pintle"},
		Logger:  c.log,
	}
	typed(&cfg)
	cfg.Aggregator = c.others
	cfg.Discovery = discovery.New(discovery.Config{Types: reg, Others: c.others})
	cfg.NamespaceResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	options := kubeapi.Options{ServiceAccountToken: review.TokenRequest(c.accounts)}
	if options.CheckAdmission, err = c.addAdmission(&cfg); err != nil {
		return err
	}
	if options.Admission, err = c.builtinAdmission(authorizer); err != nil {
		return err
	}
	cfg.Validators = append([]admission.Validator{options.Admission}, append(cfg.Validators, options.Admission.Quota())...)
	if c.cfg.RBAC {
		options.RBACAdmission = rbac.Guard(c.rbac, authorizer)
	}
	if c.api, err = apiserver.New(cfg); err != nil {
		return err
	}
	options.Writer, options.Creator = c.api.Writer(), c.api.Creator()
	for _, b := range []resource.Bundle{
		kubeapi.New(options), customresources.Bundle(), pintlev1.Bundle(), definitions(host.Definitions()),
		review.New(review.Config{
			Authorizer: authorizer, Rules: c.rbac, Tokens: authenticator,
			Audiences: c.accounts.Audiences(), Schemas: kubeapi.Schema,
		}),
	} {
		if err := c.api.Install(b); err != nil {
			return err
		}
	}
	return nil
}

// typed gives a server what it needs for the Kubernetes kinds.
func typed(cfg *apiserver.Config) {
	cfg.GoTypes = kubeapi.GoType
	cfg.Discovery = discovery.New(discovery.Config{Types: cfg.Registry})
}

// newAccess makes what says who asks and whether they may: the host's and this core's own
// tokens and those of service accounts.
func (c *Core) newAccess() (*auth.Authenticator, auth.Authorizer, error) {
	c.rbac = rbac.New(c.log)
	keys, err := tokens.OpenKeys(filepath.Join(c.dir, "keys"))
	if err != nil {
		return nil, nil, err
	}
	if c.accounts, err = tokens.New(tokens.Config{Keys: keys, Objects: c.store}); err != nil {
		return nil, nil, err
	}
	known := []auth.TokenAuthenticator{auth.ForServer(c.tokens, c.accounts.Audiences()), c.accounts}
	authenticator := auth.New(auth.Config{Tokens: append(known, c.askAuthenticators()...)})
	if c.cfg.RBAC {
		return authenticator, append(c.askAuthorizers(), c.rbac), nil
	}
	return authenticator, everyone{}, nil
}

// everyone may do everything.
type everyone struct{}

// Authorize implements auth.Authorizer.
func (everyone) Authorize(context.Context, auth.Attributes) (bool, string, error) {
	return true, "", nil
}

// addAdmission adds policies and webhooks, and returns what validates the objects that
// configure them.
func (c *Core) addAdmission(cfg *apiserver.Config) (check func(context.Context, *resource.Request) field.ErrorList, err error) {
	equivalents := match.NewRegistry(cfg.Registry)
	if c.policies, err = policy.New(policy.Config{
		Registry: cfg.Registry, Equivalents: equivalents, Authorizer: cfg.Authorizer, Logger: c.log,
	}); err != nil {
		return nil, fmt.Errorf("admission policies: %w", err)
	}
	if c.webhooks, err = webhook.New(webhook.Config{
		Services: backend.NewResolver(c.store), Equivalents: equivalents, Authorizer: cfg.Authorizer, Logger: c.log,
	}); err != nil {
		return nil, fmt.Errorf("admission webhooks: %w", err)
	}
	cfg.Mutators = []admission.Mutator{c.policies.Mutator(), c.webhooks.Mutator()}
	cfg.Validators = []admission.Validator{c.policies.Validator(), c.webhooks.Validator()}
	if c.plugins, err = plugins.New(plugins.Config{Equivalents: equivalents, Logger: c.log}); err != nil {
		return nil, fmt.Errorf("admission plugins: %w", err)
	}
	cfg.Mutators = append(cfg.Mutators, c.plugins.Mutator())
	cfg.Validators = append(cfg.Validators, c.plugins.Validator())
	cfg.Store = follow.Store{Store: c.store, Buckets: append(c.webhooks.Buckets(), c.policies.Buckets()...)}
	return func(ctx context.Context, r *resource.Request) field.ErrorList {
		return append(webhook.Check(ctx, r), c.policies.Check(ctx, r)...)
	}, nil
}

// builtinAdmission is upstream's own. What waits for a controller to go on (an account that
// is to be made, a taint or a finalizer that is to be taken off) is there with the controllers.
func (c *Core) builtinAdmission(authorizer auth.Authorizer) (*kubeadmission.Plugins, error) {
	o := kubeadmission.Options{
		Writer: lateWriter{c},
		Authorize: func(ctx context.Context, user resource.User, verb, group, name, object string) (bool, error) {
			allowed, _, err := authorizer.Authorize(ctx, auth.Attributes{
				User: user, Verb: verb, Group: group, Version: "*", Resource: name, Name: object,
			})
			return allowed, err
		},
	}
	if !c.cfg.Controllers {
		o.Disabled = []string{"ServiceAccount", kubeadmission.TaintNodes, kubeadmission.ObjectInUse}
	}
	p, err := kubeadmission.New(o)
	if err != nil {
		return nil, fmt.Errorf("admission plugins: %w", err)
	}
	return p, nil
}

// lateWriter is the writer of the API server, which is made after what it asks.
type lateWriter struct{ core *Core }

// ChangeStatus implements resource.Writer.
func (w lateWriter) ChangeStatus(ctx context.Context, gr schema.GroupResource, namespace, name string, change func(map[string]any) error) error {
	return w.core.api.Writer().ChangeStatus(ctx, gr, namespace, name, change)
}

// definitions is a bundle of types that need no hooks.
type definitions []*crd.Definition

// Definitions implements resource.Bundle.
func (d definitions) Definitions() ([]*crd.Definition, error) { return d, nil }

// Hooks implements resource.Bundle.
func (definitions) Hooks(schema.GroupResource) any { return nil }

// firstObjects returns when what every cluster has is there, and everybody knows.
func (c *Core) firstObjects(ctx context.Context) error {
	if c.cfg.RBAC {
		client, err := dynamic.NewForConfig(c.Admin)
		if err != nil {
			return err
		}
		if err := bootstrap.Ensure(ctx, client); err != nil {
			return err
		}
	} else if err := c.firstNamespaces(ctx); err != nil {
		return err
	}
	select {
	case <-c.rbac.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	return wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(ctx context.Context) (bool, error) {
		return c.types.Synced(ctx) == nil, nil
	})
}

func (c *Core) firstNamespaces(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Admin)
	if err != nil {
		return err
	}
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	return nil
}
