package others

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/check"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/events"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// in returns a maker of types of one group and version.
func in(group, version string) func(kind, plural string, hooks hook.Kind, options ...define.Option) define.Type {
	return func(kind, plural string, hooks hook.Kind, options ...define.Option) define.Type {
		if hooks.OnValidate == nil {
			hooks.OnValidate = named(check.DNSSubdomain)
		}
		return define.Type{Definition: define.Kind(group, version, kind, plural, options...), Hooks: hooks}
	}
}

// Options are what some kinds ask of the server.
type Options struct {
	// CheckAdmission validates the kinds of admissionregistration.k8s.io beyond their
	// schema; nil checks nothing.
	CheckAdmission func(context.Context, *resource.Request) field.ErrorList
}

// Types returns the types of all the groups.
func Types(o Options) []define.Type {
	var types []define.Type
	for _, group := range [][]define.Type{
		coordination(), discovery(), newEvents(), batch(), autoscaling(), policy(), networking(), runtimeClasses(),
		scheduling(), certificates(), admission(o), registration(),
	} {
		types = append(types, group...)
	}
	return types
}

func coordination() []define.Type {
	kind := in("coordination.k8s.io", "v1")
	return []define.Type{
		kind("Lease", "leases", hook.Kind{OnValidate: validateLease, OnPrint: printLease}, define.CreateOnUpdate, define.Uncounted, define.Columns("Holder", "Age")),
	}
}

func discovery() []define.Type {
	kind := in("discovery.k8s.io", "v1")
	return []define.Type{
		kind("EndpointSlice", "endpointslices", hook.Kind{OnValidate: validateSlice, OnPrint: printSlice},
			define.Generation(crd.GenerationLabels), define.Columns("AddressType", "Ports", "Endpoints", "Age")),
	}
}

func newEvents() []define.Type {
	return []define.Type{{
		Definition: define.Kind(events.Group, "v1", "Event", "events", define.Short("ev"), define.Bucket(events.Bucket),
			define.Selectable(".regarding.kind", ".regarding.namespace", ".regarding.name", ".regarding.uid",
				".regarding.apiVersion", ".regarding.resourceVersion", ".regarding.fieldPath", ".reason",
				".reportingController", ".type"),
			define.CreateOnUpdate, define.Columns("Last Seen", "Type", "Reason", "Object", "Subobject/1", "Source/1", "Message", "First Seen/1", "Count/1", "Name/1")),
		Hooks: events.Hooks{Kind: hook.Kind{OnValidate: validateEvent, OnPrint: events.Print}},
	}}
}

func batch() []define.Type {
	kind := in("batch", "v1")
	return []define.Type{
		kind("Job", "jobs", hook.Kind{
			OnDefault: defaultJob, OnPrepare: prepareJob, OnValidate: validateJob, OnPrint: printJob,
		}, define.All, define.Status, define.Selectable(".status.successful"),
			define.Columns("Status", "Completions", "Duration", "Age", "Containers/1", "Images/1", "Selector/1")),
		kind("CronJob", "cronjobs", hook.Kind{
			OnDefault: defaultCronJob, OnPrepare: hook.DropStatus, OnValidate: validateCronJob, OnPrint: printCronJob,
		}, define.Short("cj"), define.All, define.Status,
			define.Columns("Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age",
				"Containers/1", "Images/1", "Selector/1")),
	}
}

func autoscaling() []define.Type {
	hooks := autoscalers{hook.Kind{
		OnDefault: defaultAutoscaler, OnPrepare: hook.DropStatus, OnValidate: hook.Typed(validateAutoscaler), OnPrint: printAutoscaler,
	}}
	return []define.Type{
		{Hooks: hooks, Definition: define.Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers",
			define.Short("hpa"), define.All, define.Status,
			define.Uncounted, define.Columns("Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), define.Also("v1"))},
	}
}

func policy() []define.Type {
	kind := in("policy", "v1")
	return []define.Type{
		kind("PodDisruptionBudget", "poddisruptionbudgets", hook.Kind{
			OnPrepare: prepareBudget, OnValidate: validateBudget, OnPrint: printBudget,
		}, define.Short("pdb"), define.Status,
			define.Columns("Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age")),
	}
}

func networking() []define.Type {
	kind := in("networking.k8s.io", "v1")
	return []define.Type{
		kind("Ingress", "ingresses", hook.Kind{OnPrepare: prepareIngress, OnValidate: validateIngress, OnPrint: printIngress},
			define.Short("ing"), define.Status, define.Columns("Class", "Hosts", "Address", "Ports", "Age")),
		kind("IngressClass", "ingressclasses", hook.Kind{OnValidate: validateIngressClass, OnPrint: printIngressClass}, define.Cluster,
			define.Columns("Name", "Controller", "Parameters", "Age")),
		kind("NetworkPolicy", "networkpolicies", hook.Kind{
			OnPrepare: hook.Warn("the server's own network plugin does not enforce network policies: without another one this object has no effect", nil),
			OnDefault: defaultNetworkPolicy, OnValidate: validateNetworkPolicy, OnPrint: printNetworkPolicy,
		}, define.Short("netpol"), define.Columns("Pod-Selector", "Age")),
		kind("ServiceCIDR", "servicecidrs", hook.Kind{OnPrepare: hook.DropStatus, OnValidate: validateServiceCIDR, OnPrint: printServiceCIDR},
			define.Cluster, define.Status, define.Uncounted, define.Columns("CIDRs", "Age")),
		kind("IPAddress", "ipaddresses", hook.Kind{OnValidate: validateIPAddress, OnPrint: printIPAddress}, define.Short("ip"), define.Cluster,
			define.Uncounted, define.Columns("ParentRef")),
	}
}

func runtimeClasses() []define.Type {
	kind := in("node.k8s.io", "v1")
	return []define.Type{
		kind("RuntimeClass", "runtimeclasses", hook.Kind{OnValidate: validateRuntimeClass, OnPrint: printRuntimeClass},
			define.Cluster, define.CreateOnUpdate, define.Columns("Handler", "Age")),
	}
}

func scheduling() []define.Type {
	kind := in("scheduling.k8s.io", "v1")
	return []define.Type{
		kind("PriorityClass", "priorityclasses", hook.Kind{OnValidate: validatePriorityClass, OnPrint: printPriorityClass},
			define.Short("pc"), define.Cluster,
			define.Counted, define.Columns("Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy")),
	}
}

func certificates() []define.Type {
	kind := in("certificates.k8s.io", "v1")
	return []define.Type{
		kind("CertificateSigningRequest", "certificatesigningrequests", hook.Kind{
			OnPrepare: prepareRequest, OnValidate: validateRequest, OnPrint: printRequest,
		}, define.Short("csr"), define.Cluster, define.Status,
			define.Sub("approval", "CertificateSigningRequest", "get", "patch", "update"),
			define.Selectable(".spec.signerName"),
			define.Uncounted, define.Columns("Age", "SignerName", "Requestor", "RequestedDuration", "Condition")),
	}
}

func admission(o Options) []define.Type {
	name := named(check.DNSSubdomain)
	validate := func(ctx context.Context, r *resource.Request) field.ErrorList {
		errs := name(ctx, r)
		if o.CheckAdmission != nil {
			errs = append(errs, o.CheckAdmission(ctx, r)...)
		}
		return errs
	}
	kind := in("admissionregistration.k8s.io", "v1")
	return []define.Type{
		kind("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", hook.Kind{OnValidate: validate, OnPrint: printWebhooks},
			define.Cluster, define.APIExtensions, define.Counted, define.Columns("Webhooks:integer", "Age")),
		kind("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", hook.Kind{OnValidate: validate, OnPrint: printWebhooks},
			define.Cluster, define.APIExtensions, define.Counted, define.Columns("Webhooks:integer", "Age")),
		kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies", hook.Kind{OnPrepare: hook.DropStatus, OnValidate: validate, OnPrint: printPolicy("validations")},
			define.Cluster, define.APIExtensions, define.Status, define.Columns("Validations:integer", "ParamKind", "Age")),
		kind("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", hook.Kind{OnValidate: validate, OnPrint: printPolicyBinding},
			define.Cluster, define.APIExtensions, define.Columns("PolicyName", "ParamRef", "Age")),
		kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies", hook.Kind{OnValidate: validate, OnPrint: printPolicy("mutations")},
			define.Cluster, define.APIExtensions, define.Columns("Mutations:integer", "ParamKind", "Age")),
		kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", hook.Kind{OnValidate: validate, OnPrint: printPolicyBinding},
			define.Cluster, define.APIExtensions, define.Columns("PolicyName", "ParamRef", "Age")),
	}
}
