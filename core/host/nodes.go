package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// NodesFinalizer keeps a Plugin object until the plugin has ended on all nodes that are there.
const NodesFinalizer = Group + "/nodes"

// byPlugin is the index of the nodes' objects by the plugin that they are about.
const byPlugin = "plugin"

// nodePlugins is what the leading server's host knows of plugins that run on nodes. Nothing is
// followed until there is one.
type nodePlugins struct {
	wishes *wishes

	mu       sync.Mutex
	prepared map[string]*preparation // by plugin
	started  bool
	mirrors  cache.Indexer // the nodes' objects
	nodes    cache.Store
	synced   []cache.InformerSynced
	ctx      context.Context //nolint:containedctx // that of wishes' run, as following begins later
	running  sync.WaitGroup
}

// preparation is what was found out about a wish once, and is not looked for again.
type preparation struct {
	generation  int64
	restartedAt string
	status      Status // what its source tells
	entry       Spec
	applied     string // permissions as they were last written
}

func newNodePlugins(w *wishes) *nodePlugins {
	return &nodePlugins{wishes: w, prepared: map[string]*preparation{}}
}

// note remembers that a wish is for nodes.
func (n *nodePlugins) note(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.prepared[name] == nil {
		n.prepared[name] = &preparation{}
	}
}

func (n *nodePlugins) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.prepared, name)
}

// has reports whether a plugin on nodes is there because of a wish, and not of configurations.
func (n *nodePlugins) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.prepared[name] != nil
}

func (n *nodePlugins) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]string, 0, len(n.prepared))
	for name := range n.prepared {
		out = append(out, name)
	}
	return out
}

// follow begins to follow nodes and what their hosts say, and waits until both are known.
func (n *nodePlugins) follow(ctx context.Context) error {
	n.mu.Lock()
	if !n.started {
		n.started = true
		n.begin()
	}
	synced := n.synced
	n.mu.Unlock()
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return fmt.Errorf("what runs on nodes: %w", ctx.Err())
	}
	return nil
}

func (n *nodePlugins) begin() {
	w := n.wishes
	again := func(o any) {
		if u := objectOf(o); u != nil && n.has(u.GetLabels()[labelPlugin]) {
			w.queue.Add(u.GetLabels()[labelPlugin])
		}
	}
	mirrors := dynamicinformer.NewFilteredDynamicInformer(w.all, Resource(), "", 0,
		cache.Indexers{byPlugin: func(o any) ([]string, error) {
			return []string{objectOf(o).GetLabels()[labelPlugin]}, nil
		}},
		func(o *metav1.ListOptions) { o.LabelSelector = labelHost + "," + labelHost + "!=" + ownerOf("") }).Informer()
	_ = mirrors.SetTransform(keep([]string{"spec"}, []string{"status", "health"}, []string{"status", "reason"}, []string{"status", "version"},
		[]string{"status", "observedGeneration"}, []string{"status", "conditions"}, []string{"status", "extensionPoints"}, []string{"status", "requestedPermissions"})) // it has not been started
	_, _ = mirrors.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: again, UpdateFunc: func(_, o any) { again(o) }, DeleteFunc: again})
	nodes := dynamicinformer.NewFilteredDynamicInformer(w.all, schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, "", 0, cache.Indexers{}, nil).Informer()
	_ = nodes.SetTransform(keep([]string{"status", "conditions"})) // as above
	all := func() {
		for _, name := range n.names() {
			w.queue.Add(name)
		}
	}
	_, _ = nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { all() },
		UpdateFunc: func(old, o any) {
			if nodeReady(objectOf(old)) != nodeReady(objectOf(o)) {
				all()
			}
		},
		DeleteFunc: func(o any) { n.gone(objectOf(o)) },
	})
	n.mirrors, n.nodes = mirrors.GetIndexer(), nodes.GetStore()
	n.synced = []cache.InformerSynced{mirrors.HasSynced, nodes.HasSynced}
	n.running.Go(func() { mirrors.RunWithContext(n.ctx) })
	n.running.Go(func() { nodes.RunWithContext(n.ctx) })
}

// gone removes what the host on a node said, which is no more.
func (n *nodePlugins) gone(node *unstructured.Unstructured) {
	if node == nil || !n.wishes.leads() {
		return
	}
	for _, o := range n.mirrors.List() {
		if s := nodeStateOf(objectOf(o)); s.node == node.GetName() {
			if err := n.drop(n.ctx, s); err != nil {
				n.wishes.host.config.Logger.Warn("remove the plugin object of a node that is gone", "object", s.object, "error", err)
			}
		}
	}
}

func (n *nodePlugins) drop(ctx context.Context, s nodeState) error {
	if err := n.wishes.client.Delete(ctx, s.object, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err //nolint:wrapcheck // names the object
	}
	return nil
}

// objectOf is the object of an informer's event.
func objectOf(o any) *unstructured.Unstructured {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	u, _ := o.(*unstructured.Unstructured)
	return u
}

// keep makes a transformation that leaves the fields at paths and of the metadata what names
// an object.
func keep(paths ...[]string) cache.TransformFunc {
	return func(o any) (any, error) {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return o, nil
		}
		out := &unstructured.Unstructured{Object: map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind()}}
		out.SetName(u.GetName())
		out.SetUID(u.GetUID())
		out.SetLabels(u.GetLabels())
		out.SetResourceVersion(u.GetResourceVersion())
		for _, path := range paths {
			if v := lookup(u.Object, path...); v != nil {
				if err := unstructured.SetNestedField(out.Object, v, path...); err != nil {
					return nil, err //nolint:wrapcheck // says which field
				}
			}
		}
		return out, nil
	}
}

func nodeReady(u *unstructured.Unstructured) bool {
	return u != nil && conditionOf(u.Object, "Ready")["status"] == "True"
}

func conditionOf(object map[string]any, kind string) map[string]any {
	list, _ := lookup(object, "status", "conditions").([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["type"] == kind {
			return m
		}
	}
	return nil
}

// on lists how a plugin is on the nodes that are ready, and which nodes that have it are not.
func (n *nodePlugins) on(name string) (states, away []nodeState) {
	list, _ := n.mirrors.ByIndex(byPlugin, name) // the index is there
	for _, o := range list {
		s := nodeStateOf(objectOf(o))
		if node, ok, _ := n.nodes.GetByKey(s.node); ok && nodeReady(objectOf(node)) {
			states = append(states, s)
		} else {
			away = append(away, s)
		}
	}
	for _, list := range [][]nodeState{states, away} {
		slices.SortFunc(list, func(a, b nodeState) int { return strings.Compare(a.node, b.node) })
	}
	return states, away
}
