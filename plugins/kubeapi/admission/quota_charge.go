package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// waiter is a request that waits for its charge.
type waiter struct {
	request   *resource.Request
	evaluator quota.Evaluator
	write     quota.Request

	// lead is closed when the waiter has to charge those that wait now, done when it has
	// been charged or refused; err says which.
	lead, done chan struct{}
	err        error
	// charged says that some quota is raised for it.
	charged bool
}

// line is those of one namespace that wait while somebody leads.
type line struct{ waiting []*waiter }

const (
	chargeTimeout = 10 * time.Second
	// chargeTries is how often a charge is made anew because quotas changed meanwhile.
	chargeTries = 10
)

// wait returns when w has been charged or refused. Whoever finds nobody leading in the
// namespace leads: it charges all that wait, and hands over to one that came meanwhile.
func (q *ResourceQuota) wait(ctx context.Context, namespace string, w *waiter) {
	q.mu.Lock()
	l := q.lines[namespace]
	if l == nil {
		l = &line{}
		q.lines[namespace] = l
		close(w.lead)
	}
	l.waiting = append(l.waiting, w)
	q.mu.Unlock()
	// Only a leader can take a waiter off the line, and it never waits long: a client that
	// has gone is charged all the same, and counted right again later.
	select {
	case <-w.done:
		return
	case <-w.lead:
	}
	q.lead(ctx, namespace, l)
}

var errUnfinished = errors.New("the charge of a quota was not finished")

// lead charges all that wait in a line, and lets the next one lead if more have come.
func (q *ResourceQuota) lead(ctx context.Context, namespace string, l *line) {
	q.mu.Lock()
	batch := l.waiting
	l.waiting = nil
	q.mu.Unlock()
	finished := false
	// Nobody waits for ever, whatever happens here.
	defer func() {
		q.mu.Lock()
		if len(l.waiting) == 0 {
			delete(q.lines, namespace)
		} else {
			close(l.waiting[0].lead)
		}
		q.mu.Unlock()
		for _, w := range batch {
			if !finished {
				w.err = errUnfinished
			}
			close(w.done)
		}
	}()
	q.chargeAll(ctx, namespace, batch)
	finished = true
}

// chargeAll charges a batch. The end of the leader's own request does not end it.
func (q *ResourceQuota) chargeAll(ctx context.Context, namespace string, batch []*waiter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), chargeTimeout)
	defer cancel()
	reader := batch[0].request.Reader
	quotas, err := quotasOf(ctx, reader, namespace)
	if err != nil {
		for _, w := range batch {
			w.err = err
		}
		return
	}
	for try := 1; len(batch) > 0 && len(quotas) > 0; try++ {
		raised := raise(ctx, quotas, batch)
		batch = charged(batch)
		stale, err := q.write(ctx, quotas, raised)
		if len(stale) == 0 && err == nil {
			return
		}
		if err == nil && try == chargeTries {
			err = apierrors.NewConflict(resourceQuotas, stale[0], errors.New("the quota changes faster than it can be charged; please try again"))
		}
		if err == nil {
			// Quotas that were written have been charged for the batch already.
			quotas, err = quotasOf(ctx, reader, namespace, stale...)
		}
		if err != nil {
			for _, w := range batch {
				w.err = err
			}
			return
		}
	}
}

// charged returns those of a batch that have been charged, for whom the write is still to come.
func charged(batch []*waiter) []*waiter {
	var out []*waiter
	for _, w := range batch {
		if w.charged && w.err == nil {
			out = append(out, w)
		}
	}
	return out
}

// raise adds what each of a batch uses to the quotas, as long as it fits, and returns the new
// usage of quotas that it changes.
func raise(ctx context.Context, quotas []*corev1.ResourceQuota, batch []*waiter) []corev1.ResourceList {
	raised := make([]corev1.ResourceList, len(quotas))
	running := make([]*corev1.ResourceQuota, len(quotas))
	for i, rq := range quotas {
		running[i] = rq.DeepCopy()
	}
	for _, w := range batch {
		w.charged = false
		usage, err := quota.Check(ctx, running, w.evaluator, w.write)
		if err != nil {
			w.err = err
			continue
		}
		if w.request.DryRun {
			continue
		}
		for i, list := range usage {
			if list != nil {
				raised[i], running[i].Status.Used, w.charged = list, list, true
			}
		}
	}
	return raised
}

// errStale ends a write of a quota that is no longer what was counted with.
var errStale = errors.New("the quota has changed")

// write stores the usage of quotas and returns the names of those that have changed since they
// were read.
func (q *ResourceQuota) write(ctx context.Context, quotas []*corev1.ResourceQuota, raised []corev1.ResourceList) (stale []string, err error) {
	for i, rq := range quotas {
		if raised[i] == nil || q.writer == nil {
			continue
		}
		err := q.writer.ChangeStatus(ctx, resourceQuotas, rq.Namespace, rq.Name, func(object map[string]any) error {
			if tree.Str(tree.Map(object, "metadata"), "resourceVersion") != rq.ResourceVersion {
				return errStale
			}
			used := make(map[string]any, len(raised[i]))
			for name, amount := range raised[i] {
				used[string(name)] = amount.String()
			}
			tree.Ensure(object, "status")["used"] = used
			return nil
		})
		switch {
		case err == nil || apierrors.IsNotFound(err): // one that is gone limits nothing
		case errors.Is(err, errStale) || apierrors.IsConflict(err):
			stale = append(stale, rq.Name)
		default:
			return nil, fmt.Errorf("charging quota %s/%s: %w", rq.Namespace, rq.Name, err)
		}
	}
	return stale, nil
}

// quotasOf reads the quotas of a namespace, or those with the names.
func quotasOf(ctx context.Context, reader resource.Reader, namespace string, names ...string) ([]*corev1.ResourceQuota, error) {
	list, err := reader.List(ctx, resourceQuotas, namespace)
	if err != nil {
		return nil, fmt.Errorf("listing quotas of %s: %w", namespace, err)
	}
	var out []*corev1.ResourceQuota
	for _, v := range list {
		rq, err := tree.Typed[corev1.ResourceQuota](v)
		if err != nil {
			return nil, err
		}
		wanted := len(names) == 0
		for _, name := range names {
			wanted = wanted || name == rq.Name
		}
		if wanted {
			out = append(out, rq)
		}
	}
	return out, nil
}
