package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	psa "k8s.io/pod-security-admission/admission"
	psaconfig "k8s.io/pod-security-admission/admission/api"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// PodSecurity configures the plugin of that name.
type PodSecurity struct {
	// Enforce, Audit and Warn are the levels (privileged, baseline, restricted) of namespaces
	// that have no labels for them; empty means privileged. The versions are "latest" or
	// "v1.N"; empty means latest.
	Enforce, EnforceVersion string
	Audit, AuditVersion     string
	Warn, WarnVersion       string
	// ExemptUsers, ExemptNamespaces and ExemptRuntimeClasses are never held to a level.
	ExemptUsers, ExemptNamespaces, ExemptRuntimeClasses []string
}

// security holds pods to the security standards that namespaces ask for.
type security struct {
	config     *psaconfig.PodSecurityConfiguration
	privileged bool // namespaces without labels ask for nothing
	// rules are made when the first namespace asks for something.
	rules func() (*psa.Admission, error)
}

func newSecurity(o PodSecurity) (*security, error) {
	either := func(v, fallback string) string {
		if v == "" {
			return fallback
		}
		return v
	}
	level := func(v string) string { return either(v, string(psaapi.LevelPrivileged)) }
	version := func(v string) string { return either(v, psaapi.VersionLatest) }
	s := &security{config: &psaconfig.PodSecurityConfiguration{
		Defaults: psaconfig.PodSecurityDefaults{
			Enforce: level(o.Enforce), EnforceVersion: version(o.EnforceVersion),
			Audit: level(o.Audit), AuditVersion: version(o.AuditVersion),
			Warn: level(o.Warn), WarnVersion: version(o.WarnVersion),
		},
		Exemptions: psaconfig.PodSecurityExemptions{
			Usernames: o.ExemptUsers, Namespaces: o.ExemptNamespaces, RuntimeClasses: o.ExemptRuntimeClasses,
		},
	}}
	defaults, err := psaconfig.ToPolicy(s.config.Defaults)
	if err != nil {
		return nil, fmt.Errorf("podSecurity: %w", err)
	}
	s.privileged = defaults.FullyPrivileged()
	s.rules = sync.OnceValues(s.makeRules)
	if s.privileged && len(o.ExemptUsers)+len(o.ExemptNamespaces)+len(o.ExemptRuntimeClasses) == 0 {
		return s, nil
	}
	_, err = s.rules()
	return s, err
}

func (s *security) makeRules() (*psa.Admission, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("podSecurity: %w", err)
	}
	a := &psa.Admission{
		Configuration: s.config, Evaluator: evaluator, Metrics: uncounted{},
		PodSpecExtractor: psa.DefaultPodSpecExtractor{}, NamespaceGetter: neighbours{}, PodLister: neighbours{},
	}
	if err := a.CompleteConfiguration(); err != nil {
		return nil, fmt.Errorf("podSecurity: %w", err)
	}
	if err := a.ValidateConfiguration(); err != nil {
		return nil, fmt.Errorf("podSecurity: %w", err)
	}
	return a, nil
}

// holders are the types with pods in them, as the library takes them.
var holders = map[schema.GroupResource]func() runtime.Object{
	namespaces:                                func() runtime.Object { return &corev1.Namespace{} },
	pods:                                      func() runtime.Object { return &corev1.Pod{} },
	{Resource: "podtemplates"}:                func() runtime.Object { return &corev1.PodTemplate{} },
	{Resource: "replicationcontrollers"}:      func() runtime.Object { return &corev1.ReplicationController{} },
	{Group: "apps", Resource: "replicasets"}:  func() runtime.Object { return &appsv1.ReplicaSet{} },
	{Group: "apps", Resource: "deployments"}:  func() runtime.Object { return &appsv1.Deployment{} },
	{Group: "apps", Resource: "statefulsets"}: func() runtime.Object { return &appsv1.StatefulSet{} },
	{Group: "apps", Resource: "daemonsets"}:   func() runtime.Object { return &appsv1.DaemonSet{} },
	{Group: "batch", Resource: "jobs"}:        func() runtime.Object { return &batchv1.Job{} },
	{Group: "batch", Resource: "cronjobs"}:    func() runtime.Object { return &batchv1.CronJob{} },
}

// secure holds a write to the levels of its namespace. Where the namespace asks for nothing it
// costs a look at its labels.
func (p *Plugins) secure(ctx context.Context, r *admission.Request) error {
	if !p.on(podSecurity) || r.Operation != resource.Create && r.Operation != resource.Update || r.Reader == nil {
		return nil
	}
	gr := r.Resource.GroupResource()
	typed := holders[gr]
	if typed == nil || gr != pods && r.Subresource != "" {
		return nil
	}
	s := p.security
	if asks, err := s.asks(ctx, r, gr); err != nil || !asks {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	attributes := &psaapi.AttributesRecord{
		Name: r.Name, Namespace: r.Namespace, Kind: r.Kind, Resource: r.Resource, Subresource: r.Subresource,
		Operation: admissionv1.Operation(r.Operation), Username: r.User.Name,
	}
	if gr == namespaces {
		attributes.Namespace = r.Name
	}
	if attributes.Object, err = decode(r.Object, typed()); err != nil {
		return err
	}
	if r.Old != nil {
		if attributes.OldObject, err = decode(r.Old, typed()); err != nil {
			return err
		}
	}
	return answer(r, rules.Validate(context.WithValue(ctx, readerKey{}, r.Reader), attributes))
}

// asks reports whether the labels of a request's namespace, or of the namespace it writes, ask
// for a level.
func (s *security) asks(ctx context.Context, r *admission.Request, gr schema.GroupResource) (bool, error) {
	if gr == namespaces {
		return labelled(r.Object) || labelled(r.Old) || !s.privileged, nil
	}
	if !s.privileged {
		return true, nil
	}
	namespace, err := r.Reader.Get(ctx, namespaces, "", r.Namespace)
	if err != nil {
		return false, fmt.Errorf("reading namespace %s: %w", r.Namespace, err)
	}
	return labelled(namespace), nil
}

func labelled(namespace map[string]any) bool {
	for key := range tree.In(namespace, "metadata", "labels") {
		if strings.HasPrefix(key, labelPrefix) {
			return true
		}
	}
	return false
}

const labelPrefix = "pod-security.kubernetes.io/"

func decode(object map[string]any, into runtime.Object) (runtime.Object, error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, into); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", into, err)
	}
	return into, nil
}

// answer passes on what the library decided.
func answer(r *admission.Request, response *admissionv1.AdmissionResponse) error {
	r.Warnings = append(r.Warnings, response.Warnings...)
	for key, v := range response.AuditAnnotations {
		r.Annotate(psaapi.AuditAnnotationPrefix+key, v)
	}
	if response.Allowed {
		return nil
	}
	refusal := forbidden(r.Request, "Not allowed by PodSecurity")
	if s := response.Result; s != nil {
		if s.Message != "" {
			refusal.ErrStatus.Message = s.Message
		}
		if s.Reason != "" {
			refusal.ErrStatus.Reason = s.Reason
		}
		if s.Details != nil {
			refusal.ErrStatus.Details = s.Details
		}
		if s.Code != 0 {
			refusal.ErrStatus.Code = s.Code
		}
	}
	return refusal
}

// readerKey is under which the library's callbacks find the request's reader.
type readerKey struct{}

// neighbours reads what the library asks for.
type neighbours struct{}

var errNoReader = errors.New("no reader in the context of pod security")

// GetNamespace implements the library's NamespaceGetter.
func (neighbours) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	reader, ok := ctx.Value(readerKey{}).(resource.Reader)
	if !ok {
		return nil, errNoReader
	}
	namespace, err := reader.Get(ctx, namespaces, "", name)
	if err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return tree.Typed[corev1.Namespace](namespace)
}

// ListPods implements the library's PodLister.
func (neighbours) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	reader, ok := ctx.Value(readerKey{}).(resource.Reader)
	if !ok {
		return nil, errNoReader
	}
	list, err := reader.List(ctx, pods, namespace)
	if err != nil {
		return nil, fmt.Errorf("listing pods of %s: %w", namespace, err)
	}
	out := make([]*corev1.Pod, 0, len(list))
	for _, v := range list {
		pod, err := tree.Typed[corev1.Pod](v)
		if err != nil {
			return nil, err
		}
		out = append(out, pod)
	}
	return out, nil
}

// uncounted keeps no metrics.
type uncounted struct{}

func (uncounted) RecordEvaluation(metrics.Decision, psaapi.LevelVersion, metrics.Mode, psaapi.Attributes) {
}
func (uncounted) RecordExemption(psaapi.Attributes)   {}
func (uncounted) RecordError(bool, psaapi.Attributes) {}
