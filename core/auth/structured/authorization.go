package structured

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/webhook"
	"github.com/pintle-dev/pintle/core/internal/filewatch"
)

// AuthorizationConfig of an Authorization.
type AuthorizationConfig struct {
	// File is an AuthorizationConfiguration.
	File string
	// Node and RBAC stand for the authorizers of these types.
	Node, RBAC auth.Authorizer
	// Logger; nil means slog.Default.
	Logger *slog.Logger
}

// Authorization asks the authorizers of a file, in its order.
type Authorization struct {
	cfg      AuthorizationConfig
	compiler authorizationcel.Compiler
	first    []byte
	current  atomic.Pointer[auth.Union]
	// types are those of the authorizers in use.
	types atomic.Pointer[[]string]
}

var _ auth.Authorizer = (*Authorization)(nil)

// Types of authorizers in the file, beside Webhook.
const (
	typeNode = "Node"
	typeRBAC = "RBAC"
)

// NewAuthorization reads the file.
func NewAuthorization(cfg AuthorizationConfig) (*Authorization, error) {
	const what = "authorization configuration"
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	data, err := read(what, cfg.File)
	if err != nil {
		return nil, err
	}
	a := &Authorization{cfg: cfg, compiler: authorizationcel.NewDefaultCompiler(), first: data}
	u, c, err := a.make(data)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, cfg.File, err)
	}
	a.use(u, c)
	return a, nil
}

func (a *Authorization) use(u auth.Union, c *apiserver.AuthorizationConfiguration) {
	a.current.Store(&u)
	types := make([]string, len(c.Authorizers))
	for i, one := range c.Authorizers {
		types[i] = string(one.Type)
	}
	a.types.Store(&types)
}

// Uses reports whether the file has an authorizer of a type: Node, RBAC or Webhook.
func (a *Authorization) Uses(typ string) bool { return slices.Contains(*a.types.Load(), typ) }

// Incomplete says why a list of a user's rules does not have all that they may do, "" where
// it does.
func (a *Authorization) Incomplete() string {
	if a.Uses(string(apiserver.TypeWebhook)) {
		return "webhook authorizer does not support user rule resolution"
	}
	return ""
}

// Authorize implements auth.Authorizer.
func (a *Authorization) Authorize(ctx context.Context, at auth.Attributes) (bool, string, error) {
	return a.current.Load().Authorize(ctx, at)
}

func (a *Authorization) make(data []byte) (auth.Union, *apiserver.AuthorizationConfiguration, error) {
	c, err := decode[*apiserver.AuthorizationConfiguration](data)
	if err != nil {
		return nil, nil, err
	}
	known := sets.New(string(apiserver.TypeWebhook), typeNode, typeRBAC)
	if err := validation.ValidateAuthorizationConfiguration(a.compiler, nil, c, known, sets.New(string(apiserver.TypeWebhook))).ToAggregate(); err != nil {
		return nil, nil, err
	}
	var u auth.Union
	for i, one := range c.Authorizers {
		switch string(one.Type) {
		case typeNode:
			u = append(u, a.cfg.Node)
		case typeRBAC:
			u = append(u, a.cfg.RBAC)
		default:
			matcher, errs := validation.ValidateAndCompileMatchConditions(a.compiler, one.Webhook.MatchConditions)
			if err := errs.ToAggregate(); err != nil {
				return nil, nil, fmt.Errorf("authorizers[%d]: %w", i, err)
			}
			w, err := webhook.NewAccess(one.Name, *one.Webhook, matcher, nil)
			if err != nil {
				return nil, nil, fmt.Errorf("authorizers[%d]: %w", i, err)
			}
			u = append(u, w)
		}
	}
	return u, c, nil
}

// Run follows the file until ctx ends.
func (a *Authorization) Run(ctx context.Context) error {
	return filewatch.Follow(ctx, a.cfg.File, a.first, a.cfg.Logger, func(data []byte) {
		u, c, err := a.make(data)
		if err != nil {
			a.cfg.Logger.Error("the authorization configuration has changed and is no good; what it said before holds", "file", a.cfg.File, "error", err)
			return
		}
		a.use(u, c)
		var names []string
		for _, one := range c.Authorizers {
			names = append(names, one.Name)
		}
		a.cfg.Logger.Info("the authorization configuration is in force", "file", a.cfg.File, "authorizers", strings.Join(names, ","))
	})
}
