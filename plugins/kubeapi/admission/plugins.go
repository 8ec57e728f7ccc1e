package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Names of the plugins, as upstream's --disable-admission-plugins takes them.
const (
	namespaceLifecycle  = "NamespaceLifecycle"
	limitRanger         = "LimitRanger"
	serviceAccount      = "ServiceAccount"
	TaintNodes          = "TaintNodesByCondition"
	podSecurity         = "PodSecurity"
	priority            = "Priority"
	defaultTolerations  = "DefaultTolerationSeconds"
	defaultStorageClass = "DefaultStorageClass"
	ObjectInUse         = "StorageObjectInUseProtection"
	claimResize         = "PersistentVolumeClaimResize"
	runtimeClass        = "RuntimeClass"
	certificateApproval = "CertificateApproval"
	certificateSigning  = "CertificateSigning"
	trustBundleAttest   = "ClusterTrustBundleAttest"
	certificateSubject  = "CertificateSubjectRestriction"
	defaultIngressClass = "DefaultIngressClass"
	podTopologyLabels   = "PodTopologyLabels"
	podResize           = "PodResizeValidator"
	resourceQuota       = "ResourceQuota"
)

// Names lists the plugins that can be disabled, sorted.
func Names() []string {
	names := []string{
		namespaceLifecycle, limitRanger, serviceAccount, TaintNodes, podSecurity, priority, defaultTolerations,
		defaultStorageClass, ObjectInUse, claimResize, runtimeClass, certificateApproval, certificateSigning,
		trustBundleAttest, certificateSubject, defaultIngressClass, podTopologyLabels, podResize, resourceQuota,
	}
	slices.Sort(names)
	return names
}

// Authorizer says whether a user may do something to an object that has no routes, such as
// approving for a signer.
type Authorizer func(ctx context.Context, user resource.User, verb, group, resource, name string) (bool, error)

// Options are the settings of the plugins. The zero value has them all on.
type Options struct {
	// Disabled names plugins that do nothing.
	Disabled []string
	// Elsewhere are the names of plugins that the server has beside these; here disabling them
	// means nothing.
	Elsewhere []string
	// PodSecurity has the levels of namespaces that say nothing, and who is exempt.
	PodSecurity PodSecurity
	// Authorize is asked by the plugins that guard certificates. Nil allows everything.
	Authorize Authorizer
	// Writer raises the usage of quotas. Nil checks quotas and charges nothing.
	Writer resource.Writer
}

// Plugins are the admission plugins. A nil *Plugins has them all on with default settings.
// It is safe for concurrent use.
type Plugins struct {
	disabled  map[string]bool
	authorize Authorizer
	security  *security
	quota     *ResourceQuota
}

var _ admission.Validator = (*Plugins)(nil)

// New returns the plugins. An error names the setting that is wrong.
func New(o Options) (*Plugins, error) {
	p := &Plugins{disabled: map[string]bool{}, authorize: o.Authorize}
	known := append(Names(), o.Elsewhere...)
	slices.Sort(known)
	for i, name := range o.Disabled {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("disabled[%d]: no admission plugin is called %q; there are %s", i, name, strings.Join(known, ", "))
		}
		p.disabled[name] = true
	}
	var err error
	if p.security, err = newSecurity(o.PodSecurity); err != nil {
		return nil, err
	}
	p.quota = &ResourceQuota{writer: o.Writer, off: p.disabled[resourceQuota], lines: map[string]*line{}}
	return p, nil
}

// on reports whether a plugin is not disabled.
func (p *Plugins) on(name string) bool { return p == nil || !p.disabled[name] }

// Quota returns the plugin that charges quotas. It has to be called after all others.
func (p *Plugins) Quota() *ResourceQuota { return p.quota }

// The types that plugins look at.
var (
	pods            = schema.GroupResource{Resource: "pods"}
	namespaces      = schema.GroupResource{Resource: "namespaces"}
	nodes           = schema.GroupResource{Resource: "nodes"}
	claims          = schema.GroupResource{Resource: "persistentvolumeclaims"}
	volumes         = schema.GroupResource{Resource: "persistentvolumes"}
	limitRanges     = schema.GroupResource{Resource: "limitranges"}
	resourceQuotas  = schema.GroupResource{Resource: "resourcequotas"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	priorityClasses = schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	runtimeClasses  = schema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"}
	storageClasses  = schema.GroupResource{Group: "storage.k8s.io", Resource: "storageclasses"}
	ingresses       = schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}
	ingressClasses  = schema.GroupResource{Group: "networking.k8s.io", Resource: "ingressclasses"}
	signingRequests = schema.GroupResource{Group: certificatesGroup, Resource: "certificatesigningrequests"}
	trustBundles    = schema.GroupResource{Group: certificatesGroup, Resource: "clustertrustbundles"}
)

// Prepare returns what changes the objects of a type when they are written, nil where nothing
// does. Pods have methods of their own.
func (p *Plugins) Prepare(gr schema.GroupResource) func(ctx context.Context, r *resource.Request) error {
	switch gr {
	case nodes:
		return p.prepareNode
	case claims:
		return p.prepareClaim
	case volumes:
		return p.prepareVolume
	case ingresses:
		return p.prepareIngress
	}
	return nil
}

// Validate implements the SDK's admission.Validator.
func (p *Plugins) Validate(ctx context.Context, r *admission.Request) error {
	switch gr := r.Resource.GroupResource(); gr {
	case pods:
		return p.validatePod(ctx, r)
	case namespaces:
		return p.validateNamespace(ctx, r)
	case claims:
		return p.validateClaim(ctx, r)
	case priorityClasses:
		return p.validatePriorityClass(ctx, r.Request)
	case signingRequests:
		return p.validateSigningRequest(ctx, r.Request)
	case trustBundles:
		return p.validateTrustBundle(ctx, r.Request)
	default:
		return p.secure(ctx, r)
	}
}

func (p *Plugins) validatePod(ctx context.Context, r *admission.Request) error {
	switch r.Operation {
	case resource.Create, resource.Update:
	default:
		return nil
	}
	switch r.Subresource {
	case "":
		if r.Operation == resource.Create {
			if err := p.checkPod(ctx, r.Request); err != nil {
				return err
			}
		}
	case "resize":
		if err := p.checkLimits(ctx, r.Request); err != nil {
			return err
		}
		if err := p.checkResize(ctx, r.Request); err != nil {
			return err
		}
	case "ephemeralcontainers":
		if err := p.checkEphemeral(ctx, r.Request); err != nil {
			return err
		}
	default:
		return nil
	}
	return p.secure(ctx, r)
}

// checkPod is what is refused of new pods.
func (p *Plugins) checkPod(ctx context.Context, r *resource.Request) error {
	if err := p.checkLimits(ctx, r); err != nil {
		return err
	}
	if err := p.checkServiceAccount(ctx, r); err != nil {
		return err
	}
	return p.checkOverhead(ctx, r)
}

func (p *Plugins) validateClaim(ctx context.Context, r *admission.Request) error {
	if r.Subresource != "" || r.Operation != resource.Create && r.Operation != resource.Update {
		return nil
	}
	if err := p.checkLimits(ctx, r.Request); err != nil {
		return err
	}
	return p.checkExpansion(ctx, r.Request)
}

// immortal namespaces are those that a cluster can't be without.
var immortal = []string{"default", "kube-system", "kube-public"}

func (p *Plugins) validateNamespace(ctx context.Context, r *admission.Request) error {
	if r.Operation == resource.Delete {
		if r.Subresource == "" && p.on(namespaceLifecycle) && slices.Contains(immortal, r.Name) {
			return apierrors.NewForbidden(namespaces, r.Name, errors.New("this namespace may not be deleted"))
		}
		return nil
	}
	return p.secure(ctx, r)
}

// forbidden refuses a request in the words of upstream's admission.
func forbidden(r *resource.Request, format string, args ...any) *apierrors.StatusError {
	name := r.Name
	if name == "" {
		meta := tree.Map(r.Object, "metadata")
		if name = tree.Str(meta, "name"); name == "" {
			name = tree.Str(meta, "generateName")
		}
		if name == "" {
			name = "Unknown"
		}
	}
	return apierrors.NewForbidden(r.Resource.GroupResource(), name, fmt.Errorf(format, args...))
}

// beingDeleted reports whether an object is being deleted already.
func beingDeleted(object map[string]any) bool {
	return tree.Str(tree.Map(object, "metadata"), "deletionTimestamp") != ""
}
