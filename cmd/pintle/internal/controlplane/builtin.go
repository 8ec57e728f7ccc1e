package controlplane

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	kubeadmission "github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// addBuiltin puts the admission plugins of the Kubernetes kinds where upstream has them: before
// policies and webhooks, but for quotas, which are charged last.
func (s *Server) addBuiltin(cfg *apiserver.Config) (*kubeadmission.Plugins, error) {
	o := s.cfg.AdmissionOptions()
	o.Writer = lateWriter{s}
	o.Authorize = func(ctx context.Context, user resource.User, verb, group, resource, name string) (bool, error) {
		allowed, _, err := s.access.authorizer.Authorize(ctx, auth.Attributes{
			User: user, Verb: verb, Group: group, Version: "*", Resource: resource, Name: name,
		})
		return allowed, err
	}
	plugins, err := kubeadmission.New(o)
	if err != nil {
		return nil, fmt.Errorf("api.admission.%w", err)
	}
	cfg.Validators = append([]admission.Validator{plugins}, cfg.Validators...)
	cfg.Validators = append(cfg.Validators, plugins.Quota())
	return plugins, nil
}

// lateWriter is the writer of the API server, which is made after what it asks.
type lateWriter struct{ server *Server }

// ChangeStatus implements resource.Writer.
func (w lateWriter) ChangeStatus(ctx context.Context, gr schema.GroupResource, namespace, name string, change func(map[string]any) error) error {
	return w.server.api.Writer().ChangeStatus(ctx, gr, namespace, name, change)
}
