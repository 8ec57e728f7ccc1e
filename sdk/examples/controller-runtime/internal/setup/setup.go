// Package setup adds all that the project does to a manager.
package setup

import (
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"

	"example.dev/sites/internal/controller"
	webhookv1 "example.dev/sites/internal/webhook/v1"
)

// All adds the reconcilers and the webhooks.
func All(mgr ctrl.Manager) error {
	if err := (&controller.SiteReconciler{
		Client: mgr.GetClient(), Scheme: mgr.GetScheme(), Recorder: mgr.GetEventRecorder("sites"),
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("controller of sites: %w", err)
	}
	if err := (&controller.ThemeReconciler{Client: mgr.GetClient()}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("controller of themes: %w", err)
	}
	if err := webhookv1.SetupSiteWebhookWithManager(mgr); err != nil {
		return fmt.Errorf("webhooks of sites: %w", err)
	}
	return nil
}
