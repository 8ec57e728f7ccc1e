package deployment

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// pass is one reconciliation of a Deployment: it carries out what the functions of
// deployment_reconcile.go decide. d is a private copy, sets are shared and not changed.
type pass struct {
	c       *Controller
	d       *appsv1.Deployment
	sets    []*appsv1.ReplicaSet
	current *appsv1.ReplicaSet
	old     []*appsv1.ReplicaSet
}

func (p *pass) run(ctx context.Context) error {
	p.current, p.old = split(p.d, p.sets)
	switch {
	case p.d.Spec.Paused, wasScaled(p.d, p.sets):
		return p.scale(ctx)
	case rolling(p.d):
		return p.roll(ctx)
	default:
		return p.recreate(ctx)
	}
}

func (p *pass) all() []*appsv1.ReplicaSet {
	if p.current == nil {
		return p.old
	}
	return append(slices.Clone(p.old), p.current)
}

// scale follows a change of size without going on with a rollout.
func (p *pass) scale(ctx context.Context) error {
	if p.current != nil {
		if err := p.adoptCurrent(ctx); err != nil {
			return err
		}
	}
	if _, err := p.resize(ctx, scale(p.d, p.current, p.old)); err != nil {
		return err
	}
	if p.d.Spec.Paused {
		if err := p.cleanUp(ctx); err != nil {
			return err
		}
	}
	return p.c.writeStatus(ctx, p.d, count(p.d, p.current, p.all(), p.c.now()))
}

func (p *pass) roll(ctx context.Context) error {
	if err := p.ensureCurrent(ctx); err != nil {
		return err
	}
	if to := newSize(p.d, p.current, p.old); to != *p.current.Spec.Replicas {
		if _, err := p.resize(ctx, []resize{{p.current, to}}); err != nil {
			return err
		}
		return p.finish(ctx)
	}
	shrunk, err := p.resize(ctx, shrinkOld(p.d, p.current, p.old))
	if err != nil {
		return err
	}
	if !shrunk && complete(p.d, &p.d.Status) {
		if err := p.cleanUp(ctx); err != nil {
			return err
		}
	}
	return p.finish(ctx)
}

func (p *pass) recreate(ctx context.Context) error {
	shrunk, err := p.resize(ctx, zero(p.old))
	if err != nil {
		return err
	}
	running, err := p.oldPodsRunning()
	if err != nil {
		return err
	}
	if shrunk || running {
		return p.finish(ctx)
	}
	if err := p.ensureCurrent(ctx); err != nil {
		return err
	}
	if *p.current.Spec.Replicas != *p.d.Spec.Replicas {
		if _, err := p.resize(ctx, []resize{{p.current, *p.d.Spec.Replicas}}); err != nil {
			return err
		}
	}
	if complete(p.d, &p.d.Status) {
		if err := p.cleanUp(ctx); err != nil {
			return err
		}
	}
	return p.finish(ctx)
}

// oldPodsRunning reports whether pods of old ReplicaSets still have containers.
func (p *pass) oldPodsRunning() (bool, error) {
	for _, rs := range p.old {
		pods, err := control.Indexed[*v1.Pod](p.c.pods, control.ByController, string(rs.UID))
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(pods, func(pod *v1.Pod) bool { return !control.PodFinished(pod) }) {
			return true, nil
		}
	}
	return false, nil
}

func (p *pass) finish(ctx context.Context) error {
	return p.c.writeStatus(ctx, p.d, rollout(p.d, p.current, p.all(), p.c.now()))
}

// ensureCurrent sees to it that there is a ReplicaSet for the present template.
func (p *pass) ensureCurrent(ctx context.Context) error {
	if p.current != nil {
		return p.adoptCurrent(ctx)
	}
	rs := newReplicaSet(p.d, p.old)
	*rs.Spec.Replicas = newSize(p.d, rs, p.old)
	sets := p.c.kit.Client.AppsV1().ReplicaSets(p.d.Namespace)
	created, err := sets.Create(ctx, rs, metav1.CreateOptions{})
	exists := apierrors.IsAlreadyExists(err)
	if exists {
		if created, err = p.collide(ctx, rs.Name); err != nil {
			return err
		}
	}
	if err != nil {
		return p.createFailed(ctx, rs.Name, err)
	}
	p.current = created
	if !exists && *created.Spec.Replicas > 0 {
		p.c.events.Eventf(p.d, v1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", created.Name, *created.Spec.Replicas)
	}
	return p.noteCurrent(ctx, reasonCreated, fmt.Sprintf("Created new replica set %q", created.Name), true)
}

// collide handles a ReplicaSet of the name that the present template should have: it may
// be ours, not in the cache yet; else another name is tried.
func (p *pass) collide(ctx context.Context, name string) (*appsv1.ReplicaSet, error) {
	rs, err := p.c.kit.Client.AppsV1().ReplicaSets(p.d.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref != nil && ref.UID == p.d.UID && sameTemplate(&rs.Spec.Template, &p.d.Spec.Template) {
		return rs, nil
	}
	next := *p.d.Status.DeepCopy()
	collisions := int32(1)
	if next.CollisionCount != nil {
		collisions = *next.CollisionCount + 1
	}
	next.CollisionCount = &collisions
	if err := p.c.writeStatus(ctx, p.d, next); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("there is another ReplicaSet %q; another name will be tried", name)
}

func (p *pass) createFailed(ctx context.Context, name string, err error) error {
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return err
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", name, err)
	if hasDeadline(p.d) {
		next := *p.d.Status.DeepCopy()
		setCondition(&next, appsv1.DeploymentProgressing, v1.ConditionFalse, reasonCreateError, message, p.c.now())
		// The creation's error matters more than that of noting it.
		_ = p.c.writeStatus(ctx, p.d, next)
	}
	p.c.events.Eventf(p.d, v1.EventTypeWarning, reasonCreateError, "%s", message)
	return err
}

// adoptCurrent brings the annotations of the present ReplicaSet up to date.
func (p *pass) adoptCurrent(ctx context.Context) error {
	rs := *p.current
	changed := annotate(p.d, &rs, maxRevision(p.old)+1, true)
	if rs.Spec.MinReadySeconds != p.d.Spec.MinReadySeconds {
		rs.Spec.MinReadySeconds = p.d.Spec.MinReadySeconds
		changed = true
	}
	if changed {
		written, err := p.c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).Update(ctx, &rs, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("update ReplicaSet %s: %w", rs.Name, err)
		}
		p.current = written
	}
	first := condition(&p.d.Status, appsv1.DeploymentProgressing) == nil
	return p.noteCurrent(ctx, reasonFound, fmt.Sprintf("Found new replica set %q", p.current.Name), first)
}

// noteCurrent gives the Deployment the revision of its present ReplicaSet and, if asked
// to, the condition that says where it came from.
func (p *pass) noteCurrent(ctx context.Context, reason, message string, progressing bool) error {
	want := p.current.Annotations[revisionKey]
	if p.d.Annotations[revisionKey] != want {
		// With the status, as annotations that are written with the rest count as a new
		// generation of a Deployment.
		patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"annotations":{%q:%q}}}`, p.d.ResourceVersion, revisionKey, want)
		written, err := p.c.kit.Client.AppsV1().Deployments(p.d.Namespace).Patch(ctx, p.d.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		if err != nil {
			return fmt.Errorf("note revision %s: %w", want, err)
		}
		p.d.Annotations, p.d.ResourceVersion = written.Annotations, written.ResourceVersion
	}
	if progressing && hasDeadline(p.d) {
		next := *p.d.Status.DeepCopy()
		setCondition(&next, appsv1.DeploymentProgressing, v1.ConditionTrue, reason, message, p.c.now())
		return p.c.writeStatus(ctx, p.d, next)
	}
	return nil
}

// resize gives ReplicaSets other sizes. It reports whether any changed, and puts what was
// written in the place of what was known.
func (p *pass) resize(ctx context.Context, list []resize) (bool, error) {
	changed := false
	for _, r := range list {
		from := *r.set.Spec.Replicas
		rs := *r.set
		rs.Annotations = maps.Clone(r.set.Annotations)
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		noted := setReplicas(rs.Annotations, *p.d.Spec.Replicas, *p.d.Spec.Replicas+maxSurge(p.d))
		if from == r.to && !noted {
			continue
		}
		rs.Spec.Replicas = &r.to
		written, err := p.c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).Update(ctx, &rs, metav1.UpdateOptions{})
		if err != nil {
			return changed, fmt.Errorf("scale ReplicaSet %s from %d to %d: %w", rs.Name, from, r.to, err)
		}
		p.replace(r.set, written)
		if from == r.to {
			continue
		}
		changed = true
		way := "up"
		if r.to < from {
			way = "down"
		}
		p.c.events.Eventf(p.d, v1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %s to %s",
			way, rs.Name, strconv.Itoa(int(from)), strconv.Itoa(int(r.to)))
	}
	return changed, nil
}

func (p *pass) replace(was, is *appsv1.ReplicaSet) {
	if p.current == was {
		p.current = is
		return
	}
	p.old = slices.Clone(p.old)
	for i, rs := range p.old {
		if rs == was {
			p.old[i] = is
		}
	}
}

// cleanUp deletes ReplicaSets beyond the history limit.
func (p *pass) cleanUp(ctx context.Context) error {
	for _, rs := range expired(p.d, p.old) {
		err := p.c.kit.Client.AppsV1().ReplicaSets(rs.Namespace).Delete(ctx, rs.Name, metav1.DeleteOptions{
			Preconditions: metav1.NewUIDPreconditions(string(rs.UID)),
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete ReplicaSet %s beyond the history limit: %w", rs.Name, err)
		}
	}
	return nil
}
