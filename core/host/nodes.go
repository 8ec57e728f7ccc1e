package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/sdk/protocol"
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

// prepareNodes does for a plugin that runs on nodes what their hosts may not do, grants its
// permissions, and sums up in its object how it is on them.
func (w *wishes) prepareNodes(ctx context.Context, u *unstructured.Unstructured) error {
	name := u.GetName()
	w.nodes.note(name)
	if !w.leads() {
		return nil
	}
	if err := w.nodes.follow(ctx); err != nil {
		return err
	}
	if u.GetDeletionTimestamp() != nil {
		return w.leaveNodes(ctx, u)
	}
	if !slices.Contains(u.GetFinalizers(), NodesFinalizer) {
		return w.patch(ctx, name, map[string]any{"metadata": map[string]any{
			"finalizers": append(u.GetFinalizers(), NodesFinalizer), "resourceVersion": u.GetResourceVersion(),
		}})
	}
	p, err := w.prepare(ctx, u)
	if err != nil {
		return err
	}
	if p == nil {
		return nil // it was refused
	}
	st := p.status
	st.ObservedGeneration, st.History, st.Conditions = u.GetGeneration(), historyOf(u.Object), conditionsOf(u.Object)
	states, away := w.nodes.on(name)
	st.askedFor(p.entry, states)
	settled := st.sumUp(p.entry, states, away)
	st.setGranted(name, st.PendingPermissions)
	if w.host.config.ManagePermissions {
		rules := st.Granted
		if !settled { // the version before still runs on some
			before, err := permissionsOf(ctx, w.host, name)
			if err != nil {
				return err
			}
			rules = union(rules, before)
		}
		if text := mustJSON(rules); text != p.applied {
			if err := EnsurePermissions(ctx, w.host.config.Client, name, rules); err != nil {
				return err
			}
			p.applied = text
		}
	}
	tree := statusTree(&st)
	if saysAlready(u.Object, tree) {
		return nil
	}
	return w.patch(ctx, name, map[string]any{"status": tree}, "status")
}

// prepare finds out about a generation of a wish what its source tells; nil where that is
// refused.
func (w *wishes) prepare(ctx context.Context, u *unstructured.Unstructured) (*preparation, error) {
	n, name := w.nodes, u.GetName()
	at, _ := lookup(u.Object, "spec", "restartedAt").(string)
	n.mu.Lock()
	p := n.prepared[name]
	n.mu.Unlock()
	if p != nil && p.generation == u.GetGeneration() && p.restartedAt == at {
		return p, nil
	}
	e, err := w.host.entryOf(u)
	if err != nil {
		return nil, w.refuse(ctx, u, err)
	}
	fresh := &preparation{generation: u.GetGeneration(), restartedAt: at, entry: e}
	if p != nil {
		fresh.applied = p.applied
	}
	if fresh.status, err = w.host.foresee(ctx, &e); err != nil {
		if refusal := w.refuse(ctx, u, err); refusal != nil {
			return nil, refusal
		}
		return nil, err // it is tried again
	}
	n.mu.Lock()
	n.prepared[name] = fresh
	n.mu.Unlock()
	return fresh, nil
}

// foresee says of a plugin that other hosts run what its source tells. The binary of a path is
// on those hosts' machines; what is not known is granted by rules only.
func (h *Host) foresee(ctx context.Context, e *Spec) (Status, error) {
	st := Status{Name: e.Name, Circuit: CircuitClosed, Placement: e.Placement}
	source := e.Source
	if source.Path != "" {
		source = Source{}
		st.SHA256 = e.Source.SHA256
	}
	switch {
	case e.FirstParty():
		requested, err := h.ownPermissions(e)
		if err != nil {
			return st, err
		}
		st.Requested, st.Granted = requested, requested
	case source == Source{}:
		st.Granted = e.Permissions
	default:
		a, err := h.config.Fetcher.Fetch(ctx, source)
		if err != nil {
			return st, fmt.Errorf("source: %w", err)
		}
		st.SHA256, st.Digest, st.SignedBy, st.Version = a.SHA256, a.Digest, a.SignedBy, a.Version
		if m := a.Manifest; m != nil {
			if m.Name != e.Name {
				return st, fmt.Errorf("source: %s holds plugin %q, the object is named %q", source, m.Name, e.Name)
			}
			st.Requested, st.Description = m.Permissions, m.Description
			st.Granted, st.PendingPermissions = e.granted(m.Permissions)
			st.PendingMachine = e.pendingMachine(m)
			st.Uses, st.PendingUses = e.usesOf(m)
			st.Requires = m.Requires
		}
	}
	return st, nil
}

// ownPermissions are those of one of the host's own plugins.
func (h *Host) ownPermissions(e *Spec) ([]rbacv1.PolicyRule, error) {
	own, err := h.config.Own(e.Name, Builtin)
	if err != nil || own.Builtin == nil {
		return e.Permissions, err
	}
	return own.Builtin.Info().Permissions, nil
}

// leaveNodes lets the object of a plugin go when it has ended on all nodes that are ready; what
// others say is removed, and their hosts end it when they are back.
func (w *wishes) leaveNodes(ctx context.Context, u *unstructured.Unstructured) error {
	if !slices.Contains(u.GetFinalizers(), NodesFinalizer) {
		return nil
	}
	states, away := w.nodes.on(u.GetName())
	for _, s := range away {
		if err := w.nodes.drop(ctx, s); err != nil {
			return err
		}
	}
	if len(states) > 0 {
		return nil // each that goes is heard of
	}
	if err := w.forget(ctx, u.GetName()); err != nil {
		return err
	}
	rest := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == NodesFinalizer })
	err := w.patch(ctx, u.GetName(), map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": u.GetResourceVersion()}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// isPrepared reports, to the host on a node, whether a server has done its part for this
// generation of a wish: nothing runs before it has its permissions.
func isPrepared(u *unstructured.Unstructured) bool {
	observed, _ := lookup(u.Object, "status", "observedGeneration").(int64)
	return observed >= u.GetGeneration() && conditionOf(u.Object, ConditionGranted) != nil
}

// permissionsOf are those that a plugin has now.
func permissionsOf(ctx context.Context, h *Host, plugin string) ([]policyRule, error) {
	client, err := rbacclient.NewForConfig(h.config.Client)
	if err != nil {
		return nil, fmt.Errorf("permissions of plugin %s: %w", plugin, err)
	}
	role, err := client.ClusterRoles().Get(ctx, "pintle:plugin:"+plugin, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("permissions of plugin %s: %w", plugin, err)
	}
	return role.Rules, nil
}

// PermitOnNodes grants third parties' plugins of the configuration that run on nodes what the
// configuration grants them; the hosts there may not. It goes on until all have it, or ctx is
// done.
func (h *Host) PermitOnNodes(ctx context.Context, specs []Spec) {
	for i := range specs {
		e := &specs[i]
		if e.FirstParty() || e.Disabled {
			continue
		}
		go func() {
			wait := retryMin
			for ctx.Err() == nil {
				st, err := h.foresee(ctx, e)
				if err == nil {
					err = EnsurePermissions(ctx, h.config.Client, e.Name, st.Granted)
				}
				if err == nil {
					return
				}
				h.config.Logger.Warn("permissions of a plugin on nodes", "plugin", e.Name, "error", err)
				sleep(ctx, wait)
				wait = min(2*wait, retryMax)
			}
		}()
	}
}

// checkPlace refuses on nodes what only servers can make use of.
func (i *instance) checkPlace() error {
	if i.host.config.Node == "" {
		return nil
	}
	for _, p := range []protocol.Point{
		protocol.PointResource, protocol.PointAPIService, protocol.PointAdmission, protocol.PointAuthentication, protocol.PointAuthorization,
	} {
		if i.guest.offers(p) {
			return refuse("it offers extension point %q, of which there is none on nodes: install it without nodeScoped", p)
		}
	}
	return nil
}

// IsGuest reports whether what runs as the named plugin, or would, is a third party's.
func (h *Host) IsGuest(name string) bool {
	s, err := h.plugin(name)
	if err != nil {
		return true
	}
	e, _, _ := s.plan.next()
	current := s.plan.current()
	return !e.FirstParty() || !current.FirstParty()
}
