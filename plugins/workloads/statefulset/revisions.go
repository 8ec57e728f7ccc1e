package statefulset

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/history"
)

// chooseRevisions finds the revision of the present template and the one that the set
// comes from, of a sorted list. It writes the former if there is none yet.
func (c *Controller) chooseRevisions(ctx context.Context, w *world, sorted []*appsv1.ControllerRevision) error {
	set := w.set
	zero := int32(0)
	if w.collisions = set.Status.CollisionCount; w.collisions == nil {
		w.collisions = &zero
	}
	update, err := history.New(set, kind, &set.Spec.Template, history.Next(sorted))
	if err != nil {
		return err
	}
	var equal *appsv1.ControllerRevision
	for _, r := range sorted {
		if history.Same(r, update) {
			equal = r
		}
	}
	switch {
	case equal == nil:
		namer := history.Namer{Label: history.HashLabel, Hash: func(collisions *int32) string {
			return history.DataHash(update, collisions)
		}}
		update, w.collisions, err = c.history.Create(ctx, set, update, namer, w.collisions)
	case equal == sorted[len(sorted)-1]:
		update = equal
	default:
		// The template is an earlier one again.
		update, err = c.history.Renumber(ctx, equal, update.Revision)
	}
	if err != nil {
		return err
	}
	current := update
	for _, r := range sorted {
		if r.Name == set.Status.CurrentRevision {
			current = r
		}
	}
	w.update = &revision{ControllerRevision: update, template: &set.Spec.Template}
	w.current = w.update
	if current.Name != update.Name {
		template, err := history.Template(current)
		if err != nil {
			return err
		}
		w.current = &revision{ControllerRevision: current, template: template}
	}
	return nil
}

// forget deletes the revisions beyond the set's history limit that no pod has.
func (c *Controller) forget(ctx context.Context, w *world, sorted []*appsv1.ControllerRevision) error {
	used := map[string]bool{w.current.Name: true, w.update.Name: true}
	for _, p := range w.pods {
		used[p.Labels[appsv1.StatefulSetRevisionLabel]] = true
	}
	for _, r := range history.Expired(sorted, w.set.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool { return used[r.Name] }) {
		if err := c.history.Delete(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
