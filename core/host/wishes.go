package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// wishWorkers carry out wishes at the same time: one that waits for a plugin to stop does
// not hold up the others.
const wishWorkers = 4

// wishes carries out the Plugin objects that somebody has applied: those without a host's
// label. Every server does, as the hooks of types are called on each; what they do to the
// objects themselves the leading one does.
type wishes struct {
	host   *Host
	client dynamic.ResourceInterface
	all    dynamic.Interface
	store  cache.Store
	queue  workqueue.TypedRateLimitingInterface[string]

	mu          sync.Mutex
	restartedAt map[string]string // as last seen, by object

	nodes   *nodePlugins
	secrets *secrets
	life    context.Context //nolint:containedctx // run's, as Secrets are followed later
}

func newWishes(h *Host, client dynamic.Interface) *wishes {
	w := &wishes{
		host: h, client: client.Resource(Resource()), all: client, restartedAt: map[string]string{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryMin, retryMax)),
	}
	w.nodes = newNodePlugins(w)
	w.secrets = &secrets{client: client, changed: func(plugin string) { w.queue.Add(plugin) }}
	return w
}

// run follows the objects until ctx is done.
func (w *wishes) run(ctx context.Context) {
	informer := dynamicinformer.NewFilteredDynamicInformer(w.all, Resource(), "", 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = "!" + labelHost }).Informer()
	w.store = informer.GetStore()
	w.nodes.ctx, w.life = ctx, ctx
	enqueue := func(o any) {
		if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = d.Obj
		}
		if u, ok := o.(*unstructured.Unstructured); ok {
			w.queue.Add(u.GetName())
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) }, DeleteFunc: enqueue,
	})
	if err != nil {
		w.host.config.Logger.Error("watch wishes for plugins", "error", err)
		return
	}
	var all sync.WaitGroup
	defer w.nodes.running.Wait()
	defer all.Wait()
	all.Go(func() { informer.RunWithContext(ctx) })
	context.AfterFunc(ctx, w.queue.ShutDown)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return
	}
	for _, name := range w.host.wished() { // what went away while this host was
		w.queue.Add(name)
	}
	for range wishWorkers {
		all.Go(func() {
			for w.next(ctx) {
			}
		})
	}
}

// lookAgain looks at all wishes, as this host has begun to lead.
func (w *wishes) lookAgain() {
	for _, name := range append(w.host.wished(), w.nodes.names()...) {
		w.queue.Add(name)
	}
}

func (w *wishes) next(ctx context.Context) bool {
	name, quit := w.queue.Get()
	if quit {
		return false
	}
	defer w.queue.Done(name)
	if err := w.carryOut(ctx, name); err != nil && ctx.Err() == nil {
		level := slog.LevelWarn
		if apierrors.IsConflict(err) { // the newer object is on its way
			level = slog.LevelDebug
		}
		w.host.config.Logger.Log(ctx, level, "plugin object is not carried out yet", "plugin", name, "error", err)
		w.queue.AddRateLimited(name)
		return true
	}
	w.queue.Forget(name)
	return true
}

// carryOut makes the catalogue what one object says.
func (w *wishes) carryOut(ctx context.Context, name string) error {
	o, ok, err := w.store.GetByKey(name)
	if err != nil {
		return err
	}
	if !ok {
		w.nodes.forget(name)
		return w.forget(ctx, name)
	}
	u, ok := o.(*unstructured.Unstructured)
	if !ok || u.GetLabels()[labelHost] != "" {
		return nil
	}
	nodeScoped, _, _ := unstructured.NestedBool(u.Object, "spec", "nodeScoped")
	switch {
	case nodeScoped && w.host.config.Node == "":
		return w.prepareNodes(ctx, u)
	case nodeScoped && u.GetDeletionTimestamp() != nil, !nodeScoped && w.host.config.Node != "":
		return w.forget(ctx, name)
	case nodeScoped && !isPrepared(u):
		return nil // its status is heard of
	case u.GetDeletionTimestamp() != nil:
		return w.finalize(ctx, u)
	}
	if err := w.secrets.follow(ctx, w.life, name, refsOf(u.Object)); err != nil {
		return err
	}
	if err := w.host.wish(u, w.again(u)); err != nil {
		return w.refuse(ctx, u, err)
	}
	w.note(u)
	return w.protect(ctx, u)
}

// refuse says in an object's status why it can't be carried out.
func (w *wishes) refuse(ctx context.Context, u *unstructured.Unstructured, why error) error {
	if !w.leads() {
		return nil
	}
	st := Status{Name: u.GetName(), Health: HealthRefused, Reason: why.Error(), Circuit: CircuitOpen}
	st.ObservedGeneration = u.GetGeneration()
	tree := statusTree(&st)
	have, _ := lookup(u.Object, "status").(map[string]any)
	if have["reason"] == tree["reason"] && have["health"] == tree["health"] && have["observedGeneration"] == tree["observedGeneration"] {
		return nil
	}
	delete(tree, "history")
	return w.patch(ctx, u.GetName(), map[string]any{"status": tree}, "status")
}

func (w *wishes) leads() bool {
	leading, _ := w.host.lead.get()
	return leading && w.host.config.Node == ""
}

// again reports whether the plugin is to be restarted: spec.restartedAt has another value than
// when it was last asked.
func (w *wishes) again(u *unstructured.Unstructured) bool {
	at, _, _ := unstructured.NestedString(u.Object, "spec", "restartedAt")
	w.mu.Lock()
	before, known := w.restartedAt[u.GetName()]
	w.mu.Unlock()
	return known && at != "" && at != before
}

// note keeps when a restart was last asked for, once that was carried out.
func (w *wishes) note(u *unstructured.Unstructured) {
	at, _, _ := unstructured.NestedString(u.Object, "spec", "restartedAt")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restartedAt[u.GetName()] = at
}

// protect gives the object of a plugin that brings types the finalizer by which those are
// dealt with first.
func (w *wishes) protect(ctx context.Context, u *unstructured.Unstructured) error {
	if !w.leads() || len(typesOf(u.Object)) == 0 || slices.Contains(u.GetFinalizers(), Finalizer) {
		return nil
	}
	return w.patch(ctx, u.GetName(), map[string]any{"metadata": map[string]any{
		"finalizers": append(u.GetFinalizers(), Finalizer), "resourceVersion": u.GetResourceVersion(),
	}})
}

// finalize deals with the types of a plugin whose object is being deleted, stops the
// plugin, and lets the object go.
func (w *wishes) finalize(ctx context.Context, u *unstructured.Unstructured) error {
	if !w.leads() || !slices.Contains(u.GetFinalizers(), Finalizer) {
		return nil // the object goes when the leading host is done, and the plugin with it
	}
	config := &w.host.config
	switch u.GetAnnotations()[RemovalAnnotation] {
	case RemovalOrphan:
	case RemovalPurge:
		for _, gr := range typesOf(u.Object) {
			if config.Purge == nil {
				break
			}
			left, err := config.Purge(ctx, gr)
			if err != nil {
				return fmt.Errorf("delete objects of %s: %w", gr, err)
			}
			if left > 0 {
				return fmt.Errorf("%d objects of %s wait for their finalizers", left, gr)
			}
		}
	default:
		if config.CountObjects == nil {
			break
		}
		left, err := remaining(ctx, u.Object, config.CountObjects)
		if err != nil {
			return err
		}
		if left != "" {
			return fmt.Errorf("%s came to be while the plugin was being removed: delete them, or set annotation %s", left, RemovalAnnotation)
		}
	}
	if err := w.forget(ctx, u.GetName()); err != nil {
		return err
	}
	rest := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == Finalizer })
	err := w.patch(ctx, u.GetName(), map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": u.GetResourceVersion()}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// forget ends what an object wished for that is gone, or goes.
func (w *wishes) forget(ctx context.Context, name string) error {
	if s, err := w.host.plugin(name); err == nil && s.spec.Wish == nil {
		return nil // the configuration's
	}
	if err := w.host.unwish(ctx, name); err != nil {
		return err
	}
	w.mu.Lock()
	delete(w.restartedAt, name)
	_ = w.secrets.follow(ctx, w.life, name, nil) // it waits for nothing
	w.mu.Unlock()
	config := &w.host.config
	if !config.ManagePermissions || config.Client == nil || !w.leads() {
		return nil
	}
	return RemovePermissions(ctx, config.Client, name)
}

func (w *wishes) patch(ctx context.Context, name string, patch map[string]any, sub ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err = w.client.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, sub...)
	return err
}

// entryOf makes the catalogue entry of an object.
func (h *Host) entryOf(u *unstructured.Unstructured) (Spec, error) {
	tree, _ := u.Object["spec"].(map[string]any)
	return h.entry(u.GetName(), tree)
}

// entry makes the catalogue entry of the spec of an object.
func (h *Host) entry(name string, tree map[string]any) (Spec, error) {
	spec, errs := ParseSpec(name, tree)
	if len(errs) > 0 {
		return Spec{}, errs.ToAggregate()
	}
	e, err := spec.Entry(h.config.Own)
	if err != nil {
		return e, err
	}
	e.Wish = wishOf(tree)
	h.settle(&e, spec.SettingsFrom)
	return e, e.Validate()
}

// wishOf is the part of a spec that says what to run.
func wishOf(tree map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range tree {
		if k != "restartedAt" {
			out[k] = v
		}
	}
	return out
}

// wish puts what an object says into the catalogue, and has the plugin restarted where again
// is set.
func (h *Host) wish(u *unstructured.Unstructured, again bool) error {
	e, err := h.entryOf(u)
	if err != nil {
		return err
	}
	s, err := h.plugin(e.Name)
	switch {
	case err == nil && s.spec.Wish == nil:
		return fmt.Errorf("plugin %q is in the configuration, which counts: remove it there, or this object", e.Name)
	case err == nil:
		if err := h.changeWish(s, e, u); err != nil {
			return err
		}
	default:
		history := historyOf(u.Object)
		if err := h.add(e, func(s *supervisor) { s.resume(&s.status, e, history) }); err != nil {
			return err
		}
		if s, err = h.plugin(e.Name); err != nil {
			return err
		}
	}
	if again { // before who waits learns that the object was seen
		s.restart()
	}
	before := s.snapshot()
	after := before
	after.setSettings(&e.Origin)
	if before.ObservedGeneration != u.GetGeneration() || !slices.Equal(before.Conditions, after.Conditions) {
		s.update(func(st *Status) {
			st.setSettings(&e.Origin)
			st.ObservedGeneration = u.GetGeneration()
		})
	}
	return h.rememberWish(u)
}

// changeWish gives a plugin the entry of its object as it is now. Where its settings can't be
// had, what runs goes on with those that it has, and takes on what changes without another
// process, such as a grant.
func (h *Host) changeWish(s *supervisor, e Spec, u *unstructured.Unstructured) error {
	before := s.plan.current()
	awaited := before.Origin.Awaits != ""
	if e.Origin.Awaits != "" && !awaited && !e.Disabled && !before.Disabled {
		e.Settings, e.Origin = before.Settings, before.Origin
		if !alike(&before.Spec, &e) {
			return nil
		}
	}
	if err := h.Change(e); err != nil {
		return err
	}
	if awaited && e.Origin.Awaits == "" { // now it can be found out
		history := historyOf(u.Object)
		s.update(func(st *Status) { s.resume(st, e, history) })
	}
	return nil
}

// wished are the names of the plugins that are in the catalogue because of objects.
func (h *Host) wished() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for name, s := range h.plugins {
		if s.spec.Wish != nil {
			out = append(out, name)
		}
	}
	return out
}

// unwish takes a plugin out of the catalogue whose object is gone.
func (h *Host) unwish(ctx context.Context, name string) error {
	s, err := h.plugin(name)
	if err != nil || s.spec.Wish == nil {
		return nil // it is not there, which is what is wanted
	}
	ctx, cancel := context.WithTimeout(ctx, 4*h.config.StopTimeout+h.config.DrainTimeout)
	defer cancel()
	if err := h.Remove(ctx, name); err != nil {
		return err
	}
	if p := h.publisher; p != nil && s.spec.NodeScoped {
		if err := p.client.Delete(ctx, s.snapshot().Object, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	if err := os.Remove(h.wishFile(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
