// Package controller has the reconcilers.
package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	sitesv1 "example.dev/sites/api/v1"
)

const (
	// Finalizer keeps a site until its host is given back.
	Finalizer = "sites.example.dev/host"
	// HostsName is the ConfigMap in which each namespace has the hosts of its sites, as a front
	// proxy would read it.
	HostsName = "site-hosts"

	themeIndex = "spec.theme"
	image      = "docker.io/library/nginx:1.29"
)

// SiteReconciler makes a ConfigMap, a Deployment and a Service of a site.
type SiteReconciler struct {
	client.Client
	Scheme   *runtime.Scheme
	Recorder events.EventRecorder
}

// +kubebuilder:rbac:groups=sites.example.dev,resources=sites,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=sites.example.dev,resources=sites/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=sites.example.dev,resources=sites/finalizers,verbs=update
// +kubebuilder:rbac:groups=sites.example.dev,resources=themes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps;services,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings what a site owns to what its spec says.
func (r *SiteReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var site sitesv1.Site
	if err := r.Get(ctx, req.NamespacedName, &site); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !site.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finalize(ctx, &site)
	}
	if controllerutil.AddFinalizer(&site, Finalizer) {
		if err := r.Update(ctx, &site); err != nil {
			return ctrl.Result{}, fmt.Errorf("add the finalizer: %w", err)
		}
	}
	theme, err := r.theme(ctx, &site)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.ensureHost(ctx, &site, site.Spec.Host); err != nil {
		return ctrl.Result{}, err
	}
	digest, err := r.ensurePages(ctx, &site, theme)
	if err != nil {
		return ctrl.Result{}, err
	}
	deployment, err := r.ensureDeployment(ctx, &site, digest)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.ensureService(ctx, &site); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.updateStatus(ctx, &site, deployment, theme, digest)
}

// theme returns the site's theme, nil where it has none or none is found.
func (r *SiteReconciler) theme(ctx context.Context, site *sitesv1.Site) (*sitesv1.Theme, error) {
	if site.Spec.Theme == "" {
		return nil, nil
	}
	var theme sitesv1.Theme
	err := r.Get(ctx, types.NamespacedName{Namespace: site.Namespace, Name: site.Spec.Theme}, &theme)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("theme: %w", err)
	}
	return &theme, nil
}

// finalize gives the site's host back.
func (r *SiteReconciler) finalize(ctx context.Context, site *sitesv1.Site) error {
	if !controllerutil.ContainsFinalizer(site, Finalizer) {
		return nil
	}
	if err := r.ensureHost(ctx, site, ""); err != nil {
		return err
	}
	controllerutil.RemoveFinalizer(site, Finalizer)
	if err := r.Update(ctx, site); err != nil {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	log.FromContext(ctx).Info("host given back", "host", site.Spec.Host)
	return nil
}

// ensureHost keeps the site's host in the list of its namespace; an empty one is taken out.
func (r *SiteReconciler) ensureHost(ctx context.Context, site *sitesv1.Site, host string) error {
	hosts := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: HostsName}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, hosts, func() error {
		if host == "" {
			delete(hosts.Data, site.Name)
			return nil
		}
		if hosts.Data == nil {
			hosts.Data = map[string]string{}
		}
		hosts.Data[site.Name] = host
		return nil
	})
	if err != nil {
		return fmt.Errorf("list of hosts: %w", err)
	}
	return nil
}

// ensurePages keeps the ConfigMap with what is served, and returns its digest.
func (r *SiteReconciler) ensurePages(ctx context.Context, site *sitesv1.Site, theme *sitesv1.Theme) (string, error) {
	pages := maps.Clone(site.Spec.Pages)
	if theme != nil {
		pages["style.css"] = theme.Spec.Style
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		fmt.Fprintf(sum, "%q %q\n", name, pages[name])
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name + "-pages"}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, cm, func() error {
		cm.Data = pages
		return controllerutil.SetControllerReference(site, cm, r.Scheme)
	}); err != nil {
		return "", fmt.Errorf("pages: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

func (r *SiteReconciler) ensureDeployment(ctx context.Context, site *sitesv1.Site, digest string) (*appsv1.Deployment, error) {
	labels := map[string]string{"sites.example.dev/site": site.Name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}}
	result, err := controllerutil.CreateOrUpdate(ctx, r.Client, d, func() error {
		d.Spec.Replicas = site.Spec.Replicas
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels = labels
		// A change of the pages rolls the deployment.
		d.Spec.Template.Annotations = map[string]string{"sites.example.dev/digest": digest}
		d.Spec.Template.Spec.Volumes = []corev1.Volume{{
			Name: "pages", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: site.Name + "-pages"}, DefaultMode: new(int32(0o644)),
			}},
		}}
		if len(d.Spec.Template.Spec.Containers) == 0 {
			d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web"}}
		}
		web := &d.Spec.Template.Spec.Containers[0]
		web.Image = image
		web.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: corev1.ProtocolTCP}}
		web.VolumeMounts = []corev1.VolumeMount{{Name: "pages", MountPath: "/usr/share/nginx/html"}}
		return controllerutil.SetControllerReference(site, d, r.Scheme)
	})
	if err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	if result == controllerutil.OperationResultCreated {
		r.Recorder.Eventf(site, d, corev1.EventTypeNormal, "Created", "Create", "Deployment %s serves the site", d.Name)
	}
	return d, nil
}

func (r *SiteReconciler) ensureService(ctx context.Context, site *sitesv1.Site) error {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, s, func() error {
		s.Spec.Selector = map[string]string{"sites.example.dev/site": site.Name}
		s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}}
		return controllerutil.SetControllerReference(site, s, r.Scheme)
	}); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	return nil
}

func (r *SiteReconciler) updateStatus(ctx context.Context, site *sitesv1.Site, d *appsv1.Deployment, theme *sitesv1.Theme, digest string) error {
	before := site.DeepCopy()
	st := &site.Status
	st.ObservedGeneration, st.Digest, st.ReadyReplicas = site.Generation, digest, d.Status.ReadyReplicas
	available := metav1.Condition{
		Type: sitesv1.ConditionAvailable, Status: metav1.ConditionFalse, ObservedGeneration: site.Generation,
		Reason: "ReplicasMissing", Message: fmt.Sprintf("%d of %d replicas are ready", d.Status.ReadyReplicas, *site.Spec.Replicas),
	}
	if d.Status.ReadyReplicas >= *site.Spec.Replicas {
		available.Status, available.Reason = metav1.ConditionTrue, "ReplicasReady"
	}
	meta.SetStatusCondition(&st.Conditions, available)
	themed := metav1.Condition{
		Type: sitesv1.ConditionThemed, Status: metav1.ConditionTrue, ObservedGeneration: site.Generation, Reason: "ThemeFound",
	}
	switch {
	case site.Spec.Theme == "":
		themed.Reason = "NoThemeWanted"
	case theme == nil:
		themed.Status, themed.Reason = metav1.ConditionFalse, "ThemeNotFound"
		themed.Message = fmt.Sprintf("there is no theme %q", site.Spec.Theme)
	}
	meta.SetStatusCondition(&st.Conditions, themed)
	if err := r.Status().Patch(ctx, site, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}

// SetupWithManager adds the reconciler to a manager.
func (r *SiteReconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &sitesv1.Site{}, themeIndex, func(o client.Object) []string {
		if theme := o.(*sitesv1.Site).Spec.Theme; theme != "" {
			return []string{theme}
		}
		return nil
	}); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&sitesv1.Site{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Watches(&sitesv1.Theme{}, handler.EnqueueRequestsFromMapFunc(r.sitesOf)).
		Complete(r)
}

// sitesOf are the sites that use a theme.
func (r *SiteReconciler) sitesOf(ctx context.Context, theme client.Object) []reconcile.Request {
	var sites sitesv1.SiteList
	if err := r.List(ctx, &sites, client.InNamespace(theme.GetNamespace()), client.MatchingFields{themeIndex: theme.GetName()}); err != nil {
		log.FromContext(ctx).Error(err, "listing the sites of a theme")
		return nil
	}
	requests := make([]reconcile.Request, len(sites.Items))
	for i := range sites.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&sites.Items[i])
	}
	return requests
}
