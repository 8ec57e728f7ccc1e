package controllerruntime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	sdkadmission "github.com/pintle-dev/pintle/sdk/admission"
)

// convertPath is where controller-runtime registers conversions.
const convertPath = "/convert"

// webhooks is the webhook server of a manager that listens nowhere: it keeps what is
// registered, and the plugin's admission calls it.
type webhooks struct {
	mux *http.ServeMux

	mu     sync.Mutex
	byPath map[string]*admission.Webhook
	errs   []error

	// What bind finds; nobody changes it later.
	mutators, validators []hook
	declaration          sdkadmission.Declaration
}

var _ webhook.Server = (*webhooks)(nil)

func newWebhooks() *webhooks {
	return &webhooks{mux: http.NewServeMux(), byPath: map[string]*admission.Webhook{}}
}

// NeedLeaderElection implements webhook.Server.
func (*webhooks) NeedLeaderElection() bool { return false }

// Register implements webhook.Server.
func (w *webhooks) Register(path string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mux.Handle(path, h)
	if hook, ok := h.(*admission.Webhook); ok {
		w.byPath[path] = hook
		return
	}
	if path == convertPath {
		w.errs = append(w.errs, errors.New("conversion between versions of a type is not possible in a plugin: offer one version, or versions with one schema"))
		return
	}
	w.errs = append(w.errs, fmt.Errorf("webhook %s is a %T: a plugin can offer *admission.Webhook", path, h))
}

// Start implements webhook.Server.
func (*webhooks) Start(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// StartedChecker implements webhook.Server.
func (*webhooks) StartedChecker() healthz.Checker {
	return func(*http.Request) error { return nil }
}

// WebhookMux implements webhook.Server.
func (w *webhooks) WebhookMux() *http.ServeMux { return w.mux }

// bind finds the webhooks that a project's configurations are about, by their paths.
func (w *webhooks) bind(configurationsText []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.errs...); err != nil {
		return err
	}
	if len(configurationsText) == 0 {
		if len(w.byPath) > 0 {
			return fmt.Errorf("it registers webhooks (%s): Project.Webhooks is needed, to say what they are about", slices.Sorted(maps.Keys(w.byPath)))
		}
		return nil
	}
	all, declaration, err := configurations(configurationsText)
	if err != nil {
		return fmt.Errorf("Project.Webhooks: %w", err)
	}
	w.declaration = declaration
	for _, c := range all {
		registered, ok := w.byPath[c.path]
		if !ok {
			return fmt.Errorf("Project.Webhooks: webhook %s: none is registered at its path %s", c.name, c.path)
		}
		h := hook{configured: c, webhook: registered}
		if c.mutating {
			w.mutators = append(w.mutators, h)
		} else {
			w.validators = append(w.validators, h)
		}
	}
	return nil
}
