package quota

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Operation is a write, in the words of admission.
type Operation string

// The writes that can use something of a quota.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
)

// Request is one write. Object and Old are typed where [Typed] has a type for the resource
// and are not looked at where it has none. Old is nil on create.
type Request struct {
	Operation   Operation
	Resource    schema.GroupResource
	Subresource string
	Object, Old any
}

// Evaluator says what the objects of one type use.
type Evaluator interface {
	// Handles reports whether a write can change what is used.
	Handles(r Request) bool
	// Names returns those of a quota's names that the type counts towards.
	Names(hard []corev1.ResourceName) []corev1.ResourceName
	// InScope reports whether an object is in a scope of a quota.
	InScope(scope corev1.ScopedResourceSelectorRequirement, object any) (bool, error)
	// Constrain returns an error where an object does not say what a quota with the
	// names makes it say.
	Constrain(names []corev1.ResourceName, object any) error
	// Usage returns what one object uses.
	Usage(ctx context.Context, object any) (corev1.ResourceList, error)
}

// Cluster reads objects on which the usage of others depends: what a resource claim stands
// for. Pod returns nil, nil where there is none.
type Cluster interface {
	DeviceClasses(ctx context.Context) ([]resourcev1.DeviceClass, error)
	ResourceClaims(ctx context.Context, namespace string) ([]resourcev1.ResourceClaim, error)
	Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error)
}

// The types of which more than the number counts.
var (
	Pods           = schema.GroupResource{Resource: "pods"}
	Services       = schema.GroupResource{Resource: "services"}
	Claims         = schema.GroupResource{Resource: "persistentvolumeclaims"}
	ResourceClaims = schema.GroupResource{Group: resourcev1.GroupName, Resource: "resourceclaims"}
)

// For returns the evaluator of a type. cluster is asked for resource claims only.
func For(gr schema.GroupResource, cluster Cluster) Evaluator {
	switch gr {
	case Pods:
		return pods{}
	case Services:
		return services{}
	case Claims:
		return claims{}
	case ResourceClaims:
		return resourceClaims{cluster: cluster}
	}
	return countOf(gr)
}

// Typed returns a new object of the type that an evaluator wants, nil where only the
// number of objects counts.
func Typed(gr schema.GroupResource) any {
	switch gr {
	case Pods:
		return &corev1.Pod{}
	case Services:
		return &corev1.Service{}
	case Claims:
		return &corev1.PersistentVolumeClaim{}
	case ResourceClaims:
		return &resourcev1.ResourceClaim{}
	}
	return nil
}

// Ignored reports whether no quota counts a type: those that are not stored, and events.
func Ignored(gr schema.GroupResource) bool {
	switch gr.Group {
	case "":
		return gr.Resource == "events" || gr.Resource == "bindings" || gr.Resource == "componentstatuses"
	case "events.k8s.io":
		return gr.Resource == "events"
	case "authentication.k8s.io", "authorization.k8s.io":
		return true
	}
	return false
}

// aliases are names older than count/….
var aliases = map[schema.GroupResource]corev1.ResourceName{
	{Resource: "configmaps"}:             corev1.ResourceConfigMaps,
	{Resource: "resourcequotas"}:         corev1.ResourceQuotas,
	{Resource: "replicationcontrollers"}: corev1.ResourceReplicationControllers,
	{Resource: "secrets"}:                corev1.ResourceSecrets,
}

const countPrefix = "count/"

// countName is the name by which a quota limits the number of objects of a type.
func countName(gr schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName(countPrefix + gr.String())
}

// Counted returns the types that a quota's names count, whether they exist or not.
func Counted(hard []corev1.ResourceName) []schema.GroupResource {
	var out []schema.GroupResource
	for _, gr := range [...]schema.GroupResource{Pods, Services, Claims} {
		if len(For(gr, nil).Names(hard)) > 0 {
			out = append(out, gr)
		}
	}
	if len(resourceClaims{}.Names(hard)) > 0 {
		out = append(out, ResourceClaims)
	}
	for gr := range aliases {
		if len(countOf(gr).Names(hard)) > 0 {
			out = append(out, gr)
		}
	}
	for _, name := range hard {
		rest, ok := strings.CutPrefix(string(name), countPrefix)
		if !ok {
			continue
		}
		if gr := schema.ParseGroupResource(rest); !slices.Contains(out, gr) && !Ignored(gr) {
			out = append(out, gr)
		}
	}
	return out
}

// counter is the evaluator of types of which the number counts.
type counter struct{ names []corev1.ResourceName }

func countOf(gr schema.GroupResource) counter {
	c := counter{names: []corev1.ResourceName{countName(gr)}}
	if alias, ok := aliases[gr]; ok {
		c.names = append(c.names, alias)
	}
	return c
}

func (counter) Handles(r Request) bool { return r.Subresource == "" && r.Operation == Create }

func (c counter) Names(hard []corev1.ResourceName) []corev1.ResourceName {
	return among(hard, c.names)
}

func (counter) InScope(corev1.ScopedResourceSelectorRequirement, any) (bool, error) {
	return false, nil
}

func (counter) Constrain([]corev1.ResourceName, any) error { return nil }

func (c counter) Usage(context.Context, any) (corev1.ResourceList, error) {
	out := make(corev1.ResourceList, len(c.names))
	for _, name := range c.names {
		out[name] = one()
	}
	return out, nil
}

// unexpected is what evaluators return for objects of another type.
func unexpected(want string, object any) error {
	return &typeError{want: want, got: object}
}
