package daemonset

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

// generationLabel is the label by which pods were once told apart.
const generationLabel = "pod-template-generation"

// generationOf returns the number of templates a set has had as clients of old count it,
// "" if nobody counts.
func generationOf(ds *appsv1.DaemonSet) string {
	return ds.Annotations[appsv1.DeprecatedTemplateGeneration]
}

// newPod makes the pod of a node.
func newPod(ds *appsv1.DaemonSet, hash, node string) *v1.Pod {
	p := control.PodFrom(&ds.Spec.Template, ds, kind)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	if generation := generationOf(ds); generation != "" {
		p.Labels[generationLabel] = generation
	}
	p.Spec.Tolerations = tolerations(&p.Spec)
	pinTo(&p.Spec, node)
	return p
}

// revisions are those of a DaemonSet.
type revisions struct {
	hash       string // names the present one in the labels of pods
	old        []*appsv1.ControllerRevision
	collisions *int32
}

// chooseRevision finds the revision of the present template among those of a set, and
// writes it if there is none yet. Where there are several, pods get the label of the one
// that stays.
func (c *Controller) chooseRevision(ctx context.Context, ds *appsv1.DaemonSet, sorted []*appsv1.ControllerRevision, pods []*v1.Pod) (*revisions, error) {
	r := &revisions{collisions: ds.Status.CollisionCount}
	present, err := history.New(ds, kind, &ds.Spec.Template, 0)
	if err != nil {
		return nil, err
	}
	var equal []*appsv1.ControllerRevision
	number := int64(1)
	for _, x := range sorted {
		if x.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == "" {
			if x, err = c.history.Label(ctx, x, appsv1.DefaultDaemonSetUniqueLabelKey, x.Name); err != nil {
				return nil, err
			}
		}
		if history.Same(x, present) {
			equal = append(equal, x)
			continue
		}
		r.old = append(r.old, x)
		number = max(number, x.Revision+1)
	}
	if len(equal) == 0 {
		namer := history.Namer{Label: appsv1.DefaultDaemonSetUniqueLabelKey, Hash: func(collisions *int32) string {
			return history.TemplateHash(&ds.Spec.Template, collisions)
		}}
		present.Revision = number
		if present, r.collisions, err = c.history.Create(ctx, ds, present, namer, r.collisions); err != nil {
			return nil, err
		}
		r.hash = present.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
		return r, nil
	}
	present = equal[len(equal)-1]
	r.hash = present.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
	if len(equal) > 1 {
		if err := c.mergeRevisions(ctx, equal, r.hash, pods); err != nil {
			return nil, err
		}
	}
	if present.Revision < number {
		// The template is an earlier one again.
		_, err = c.history.Renumber(ctx, present, number)
	}
	return r, err
}

// mergeRevisions leaves the last of several revisions of one template, whose hash is given.
func (c *Controller) mergeRevisions(ctx context.Context, equal []*appsv1.ControllerRevision, hash string, pods []*v1.Pod) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels": map[string]string{appsv1.DefaultDaemonSetUniqueLabelKey: hash},
	}})
	if err != nil {
		return err
	}
	for _, r := range equal[:len(equal)-1] {
		for _, p := range pods {
			if p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] != r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] {
				continue
			}
			_, err := c.kit.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, body, metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("label pod %s: %w", p.Name, err)
			}
		}
		if err := c.history.Delete(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the oldest revisions beyond the set's history limit that no pod has.
func (c *Controller) forget(ctx context.Context, ds *appsv1.DaemonSet, old []*appsv1.ControllerRevision, pods []*v1.Pod) error {
	if ds.Spec.RevisionHistoryLimit == nil {
		return nil
	}
	hashes := map[string]bool{}
	for _, p := range pods {
		hashes[p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]] = true
	}
	used := func(r *appsv1.ControllerRevision) bool {
		return hashes[r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]]
	}
	limit := *ds.Spec.RevisionHistoryLimit
	for _, r := range old {
		if used(r) {
			limit-- // those in use count as kept
		}
	}
	limit = max(0, limit)
	for _, r := range history.Expired(old, &limit, used) {
		if err := c.history.Delete(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
