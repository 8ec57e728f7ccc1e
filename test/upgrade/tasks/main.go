// Command tasks is the plugin of the test of upgrades, which builds it in several versions.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/points"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

const (
	namespace = "upgrade"
	workers   = 8
)

var tasks = schema.GroupVersionResource{Group: "upgrade.example", Version: "v1", Resource: "tasks"}

// tasksPlugin brings the type "tasks", takes part in admission of each, and writes an entry in
// the ledger, a config map, for each.
type tasksPlugin struct{ version string }

var (
	_ resource.Bundle     = (*tasksPlugin)(nil)
	_ admission.Admission = (*tasksPlugin)(nil)
	_ admission.Mutator   = (*tasksPlugin)(nil)
)

// version is set by who builds it.
var version = "0.0.0"

func main() {
	p := &tasksPlugin{version}
	serve.Serve(p, points.Of(p)...)
}

func (p *tasksPlugin) Info() plugin.Info {
	return plugin.Info{Name: "tasks", Version: p.version, Description: "for the test of upgrades", Permissions: []rbacv1.PolicyRule{
		{APIGroups: []string{tasks.Group}, Resources: []string{"tasks"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "create"}},
	}}
}

func (*tasksPlugin) ConfigSchema() []byte                    { return nil }
func (*tasksPlugin) Configure(context.Context, []byte) error { return nil }

func (*tasksPlugin) Definitions() ([]*resource.Definition, error) {
	return []*resource.Definition{{
		Group: tasks.Group, Scope: resource.NamespaceScoped,
		Names: resource.Names{Plural: "tasks", Singular: "task", Kind: "Task", ListKind: "TaskList"},
		Versions: []resource.Version{{
			Name: tasks.Version, Served: true, Storage: true,
			Schema: func() (*resource.Schema, error) {
				return &resource.Schema{Type: "object", Properties: map[string]*resource.Schema{
					"spec": {Type: "object", Properties: map[string]*resource.Schema{"by": {Type: "string"}}},
				}}, nil
			},
		}},
	}}, nil
}

func (p *tasksPlugin) Hooks(gr schema.GroupResource) any {
	if gr != tasks.GroupResource() {
		return nil
	}
	return taskHooks{}
}

type taskHooks struct{}

func (taskHooks) Validate(_ context.Context, r *resource.Request) field.ErrorList {
	if by, _, _ := unstructured.NestedString(r.Object, "spec", "by"); by == "" {
		return field.ErrorList{field.Required(field.NewPath("spec", "by"), "admission sets it")}
	}
	return nil
}

func (*tasksPlugin) Declare() admission.Declaration {
	return admission.Declaration{
		Rules: []admission.Rule{{
			APIGroups: []string{tasks.Group}, APIVersions: []string{"*"}, Resources: []string{"tasks"},
			Operations: []resource.Operation{resource.Create}, Scope: admission.NamespacedScope,
		}},
		FailurePolicy: admission.Fail,
	}
}

// Mutate notes which version has seen the task.
func (p *tasksPlugin) Mutate(_ context.Context, r *admission.Request) (bool, error) {
	return true, unstructured.SetNestedField(r.Object, p.version, "spec", "by")
}

// Run reconciles: each task gets its entry in the ledger. What was begun is brought to its end
// when it is told to stop, so an entry that is there already was made by somebody else.
func (p *tasksPlugin) Run(ctx context.Context, env plugin.Env) error {
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		return err
	}
	done := map[string]bool{} // before this one began
	entries, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, e := range entries.Items {
		done[e.Name] = true
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	informer := dynamicinformer.NewFilteredDynamicInformer(objects, tasks, namespace, 0, cache.Indexers{}, nil).Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) {
		if u, ok := o.(*unstructured.Unstructured); ok && !done[u.GetName()] {
			queue.Add(u.GetName())
		}
	}})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, queue.ShutDown)
	var all sync.WaitGroup
	all.Go(func() { informer.RunWithContext(ctx) })
	for range workers {
		all.Go(func() {
			for {
				name, quit := queue.Get()
				if quit {
					return
				}
				if ctx.Err() == nil { // what was not begun is for the next
					if err := p.enter(context.WithoutCancel(ctx), client, name); err != nil {
						env.Log.Error("entry", "task", name, "error", err)
						queue.AddRateLimited(name)
					}
				}
				queue.Done(name)
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

func (p *tasksPlugin) enter(ctx context.Context, client kubernetes.Interface, task string) error {
	entry := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: task}, Data: map[string]string{"by": p.version}}
	_, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, entry, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	entry.ObjectMeta = metav1.ObjectMeta{GenerateName: "doubled-", Labels: map[string]string{"doubled": "true"}}
	_, err = client.CoreV1().ConfigMaps(namespace).Create(ctx, entry, metav1.CreateOptions{})
	return errors.Join(err, fmt.Errorf("task %s was reconciled before", task))
}
