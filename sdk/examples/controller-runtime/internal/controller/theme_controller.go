package controller

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	sitesv1 "example.dev/sites/api/v1"
)

// ThemeReconciler counts the sites that use a theme.
type ThemeReconciler struct {
	client.Client
}

// +kubebuilder:rbac:groups=sites.example.dev,resources=themes/status,verbs=get;update;patch

// Reconcile brings a theme's status to what there is.
func (r *ThemeReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var theme sitesv1.Theme
	if err := r.Get(ctx, req.NamespacedName, &theme); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var sites sitesv1.SiteList
	if err := r.List(ctx, &sites, client.InNamespace(theme.Namespace), client.MatchingFields{themeIndex: theme.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("sites: %w", err)
	}
	if n := int32(len(sites.Items)); theme.Status.Sites != n {
		before := theme.DeepCopy()
		theme.Status.Sites = n
		if err := r.Status().Patch(ctx, &theme, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, fmt.Errorf("status: %w", err)
		}
	}
	return ctrl.Result{}, nil
}

// SetupWithManager adds the reconciler to a manager. SiteReconciler's index is needed.
func (r *ThemeReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&sitesv1.Theme{}).
		Watches(&sitesv1.Site{}, handler.EnqueueRequestsFromMapFunc(r.themes)).
		Complete(r)
}

// themes are all of a site's namespace: the one that it has left is among them.
func (r *ThemeReconciler) themes(ctx context.Context, site client.Object) []reconcile.Request {
	var themes sitesv1.ThemeList
	if err := r.List(ctx, &themes, client.InNamespace(site.GetNamespace())); err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(themes.Items))
	for i := range themes.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&themes.Items[i])
	}
	return requests
}
