package fairness

import (
	"context"
	"fmt"
	"slices"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	flowcontrol "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"

	"github.com/pintle-dev/pintle/sdk/resource"
)

// Ensure creates the objects that every cluster has, and more schemas, where they are missing. Those that an
// administrator has not taken over, by the annotation
// apf.kubernetes.io/autoupdate-spec: "false", are brought up to date.
func Ensure(ctx context.Context, client flowcontrol.FlowcontrolV1Interface, more ...*flowcontrolv1.FlowSchema) error {
	levels, err := client.PriorityLevelConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list priority levels: %w", err)
	}
	haveLevels := map[string]*flowcontrolv1.PriorityLevelConfiguration{}
	for i := range levels.Items {
		haveLevels[levels.Items[i].Name] = &levels.Items[i]
	}
	for _, want := range slices.Concat(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations) {
		if err := ensure(ctx, client.PriorityLevelConfigurations(), want.DeepCopy(), haveLevels[want.Name], levelParts); err != nil {
			return fmt.Errorf("priority level %s: %w", want.Name, err)
		}
	}
	schemas, err := client.FlowSchemas().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list flow schemas: %w", err)
	}
	haveSchemas := map[string]*flowcontrolv1.FlowSchema{}
	for i := range schemas.Items {
		haveSchemas[schemas.Items[i].Name] = &schemas.Items[i]
	}
	for _, want := range slices.Concat(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas, more) {
		if err := ensure(ctx, client.FlowSchemas(), want.DeepCopy(), haveSchemas[want.Name], schemaParts); err != nil {
			return fmt.Errorf("flow schema %s: %w", want.Name, err)
		}
	}
	return nil
}

// ours reports whether an object may be brought up to date: it says so, or says nothing and
// has never been changed.
func ours(m *metav1.ObjectMeta) bool {
	switch m.Annotations[flowcontrolv1.AutoUpdateAnnotationKey] {
	case "true":
		return true
	case "":
		return m.Generation <= 1
	}
	return false
}

// writer writes the objects of one kind.
type writer[T any] interface {
	Create(ctx context.Context, object *T, opts metav1.CreateOptions) (*T, error)
	Update(ctx context.Context, object *T, opts metav1.UpdateOptions) (*T, error)
}

// ensure creates an object, where have is nil, or brings it up to date. parts gives the
// metadata and the specification of one.
func ensure[T, S any](ctx context.Context, client writer[T], want, have *T, parts func(*T) (*metav1.ObjectMeta, *S)) error {
	meta, spec := parts(want)
	if have == nil {
		meta.Annotations = map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "true"}
		if _, err := client.Create(ctx, want, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create: %w", err)
		}
		return nil
	}
	meta, old := parts(have)
	if !ours(meta) || apiequality.Semantic.DeepDerivative(*spec, *old) {
		return nil
	}
	*old = *spec
	if _, err := client.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

func levelParts(l *flowcontrolv1.PriorityLevelConfiguration) (*metav1.ObjectMeta, *flowcontrolv1.PriorityLevelConfigurationSpec) {
	return &l.ObjectMeta, &l.Spec
}

func schemaParts(s *flowcontrolv1.FlowSchema) (*metav1.ObjectMeta, *flowcontrolv1.FlowSchemaSpec) {
	return &s.ObjectMeta, &s.Spec
}

var flowSchemas = runtimeschema.GroupResource{Group: flowcontrolv1.GroupName, Resource: "flowschemas"}

// showAgain is how long after a failure conditions are written again.
const showAgain = 10 * time.Second

// ShowDangling keeps the condition Dangling of the schemas until ctx ends.
func (c *Controller) ShowDangling(ctx context.Context, w resource.Writer) error {
	for {
		var again <-chan time.Time
		for name, message := range c.dangling() {
			err := w.ChangeStatus(ctx, flowSchemas, "", name, func(object map[string]any) error {
				return c.setDangling(object, message)
			})
			if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				c.cfg.Logger.Error("the condition of a flow schema is not shown", "schema", name, "error", err)
				again = time.After(showAgain)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.objects.changed:
		case <-again:
		}
	}
}

// setDangling puts the condition into a schema: with a message where its level is missing.
func (c *Controller) setDangling(object map[string]any, message string) error {
	status, reason := "False", "Found"
	if message != "" {
		status, reason = "True", "NotFound"
	}
	old, _ := object["status"].(map[string]any)
	list, _ := old["conditions"].([]any)
	kept := make([]any, 0, len(list)+1)
	for _, v := range list {
		cond, _ := v.(map[string]any)
		if cond["type"] != string(flowcontrolv1.FlowSchemaConditionDangling) {
			kept = append(kept, v)
			continue
		}
		if cond["status"] == status {
			return resource.ErrUnchanged
		}
	}
	if message == "" {
		spec, _ := object["spec"].(map[string]any)
		level, _ := spec["priorityLevelConfiguration"].(map[string]any)
		message = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", level["name"])
	}
	object["status"] = map[string]any{"conditions": append(kept, map[string]any{
		"type": string(flowcontrolv1.FlowSchemaConditionDangling), "status": status, "reason": reason, "message": message,
		"lastTransitionTime": c.cfg.Now().UTC().Format("2006-01-02T15:04:05Z"),
	})}
	return nil
}
