// Package v1 has the webhooks of sites.example.dev/v1.
package v1

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	sitesv1 "example.dev/sites/api/v1"
)

const hostIndex = "spec.host"

// SetupSiteWebhookWithManager adds the webhooks to a manager.
func SetupSiteWebhookWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &sitesv1.Site{}, hostIndex, func(o client.Object) []string {
		return []string{o.(*sitesv1.Site).Spec.Host}
	}); err != nil {
		return err
	}
	return ctrl.NewWebhookManagedBy(mgr, &sitesv1.Site{}).
		WithDefaulter(&SiteDefaulter{Domain: "sites.example.dev"}).
		WithValidator(&SiteValidator{Reader: mgr.GetClient()}).
		Complete()
}

// +kubebuilder:webhook:path=/mutate-sites-example-dev-v1-site,mutating=true,failurePolicy=fail,sideEffects=None,groups=sites.example.dev,resources=sites,verbs=create;update,versions=v1,name=msite-v1.kb.io,admissionReviewVersions=v1

// SiteDefaulter sets what a site does not say.
type SiteDefaulter struct {
	Domain string
}

var _ admission.Defaulter[*sitesv1.Site] = &SiteDefaulter{}

// Default implements admission.Defaulter.
func (d *SiteDefaulter) Default(_ context.Context, site *sitesv1.Site) error {
	if site.Spec.Host == "" && site.Name != "" {
		site.Spec.Host = site.Name + "." + d.Domain
	}
	if site.Spec.Replicas == nil {
		replicas := int32(2)
		site.Spec.Replicas = &replicas
	}
	return nil
}

// +kubebuilder:webhook:path=/validate-sites-example-dev-v1-site,mutating=false,failurePolicy=fail,sideEffects=None,groups=sites.example.dev,resources=sites,verbs=create;update;delete,versions=v1,name=vsite-v1.kb.io,admissionReviewVersions=v1

// SiteValidator refuses sites that can not be served.
type SiteValidator struct {
	client.Reader
}

var _ admission.Validator[*sitesv1.Site] = &SiteValidator{}

// ValidateCreate implements admission.Validator.
func (v *SiteValidator) ValidateCreate(ctx context.Context, site *sitesv1.Site) (admission.Warnings, error) {
	return v.validate(ctx, site, nil)
}

// ValidateUpdate implements admission.Validator.
func (v *SiteValidator) ValidateUpdate(ctx context.Context, old, site *sitesv1.Site) (admission.Warnings, error) {
	var errs field.ErrorList
	if old.Spec.Host != site.Spec.Host {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "host"), "a site keeps its host"))
	}
	return v.validate(ctx, site, errs)
}

// ValidateDelete implements admission.Validator.
func (v *SiteValidator) ValidateDelete(_ context.Context, site *sitesv1.Site) (admission.Warnings, error) {
	if site.Spec.Protected {
		return nil, fmt.Errorf("site %s is protected: set spec.protected to false first", site.Name)
	}
	return nil, nil
}

func (v *SiteValidator) validate(ctx context.Context, site *sitesv1.Site, errs field.ErrorList) (warnings admission.Warnings, err error) {
	pages := field.NewPath("spec", "pages")
	for name := range site.Spec.Pages {
		if strings.Contains(name, "/") {
			errs = append(errs, field.Invalid(pages.Key(name), name, "must be a file name"))
		}
	}
	if _, ok := site.Spec.Pages["index.html"]; !ok {
		warnings = append(warnings, "the site has no index.html")
	}
	var same sitesv1.SiteList
	if err := v.List(ctx, &same, client.MatchingFields{hostIndex: site.Spec.Host}); err != nil {
		return warnings, fmt.Errorf("sites of the same host: %w", err)
	}
	for i := range same.Items {
		if o := &same.Items[i]; o.Namespace != site.Namespace || o.Name != site.Name {
			errs = append(errs, field.Duplicate(field.NewPath("spec", "host"), site.Spec.Host))
			break
		}
	}
	if len(errs) == 0 {
		return warnings, nil
	}
	return warnings, apierrors.NewInvalid(schema.GroupKind{Group: sitesv1.GroupVersion.Group, Kind: "Site"}, site.Name, errs)
}
