package host

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

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
