package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// delete removes an object, at once or when its grace period and finalizers let it go.
func (q *request) delete() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	opts, err := q.deleteOptions()
	if err != nil {
		return err
	}
	if ignoresReadErrors(opts) {
		return q.deleteUnreadable()
	}
	d, err := q.deleteNamed(q.ctx, q.route.name, opts)
	if err != nil {
		return err
	}
	if d.gone && !q.kind.Definition.ReturnDeletedObject {
		return q.respondSuccess(http.StatusOK, &metav1.StatusDetails{Name: q.route.name, Group: q.kind.gr.Group, Kind: q.kind.gr.Resource, UID: d.uid})
	}
	code := http.StatusOK
	if !d.gone && opts.OrphanDependents != nil && !*opts.OrphanDependents { //nolint:staticcheck // old clients
		code = http.StatusAccepted
	}
	return q.respondObject(code, d.data)
}

// deleteOptions reads the options from the body or, where there is none, the query.
func (q *request) deleteOptions() (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	if q.r.ContentLength != 0 {
		gvk := runtimeschema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"}
		format, ok := media.Body(q.r.Header.Get("Content-Type"))
		if !ok {
			return nil, errMediaType(acceptedTypes(nil))
		}
		data, err := q.readBody()
		if err != nil {
			return nil, err
		}
		if data, err = q.optionsJSON(format, gvk, data); err != nil {
			return nil, err
		}
		if len(data) > 0 {
			q.auditBody(data)
			if !json.Valid(data) {
				return nil, apierrors.NewBadRequest(jsonError(data, nil).Error())
			}
			if err := json.Unmarshal(data, opts); err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
			if opts.Kind != "" && opts.Kind != "DeleteOptions" {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("no kind %q is registered for version %q in scheme \"pkg/runtime/scheme.go:111\"", opts.Kind, opts.APIVersion))
			}
		}
	}
	if err := q.deleteQuery(opts); err != nil {
		return nil, err
	}
	if errs := metav1validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return nil, apierrors.NewInvalid(metaKind("DeleteOptions"), "", errs)
	}
	return opts, nil
}

func (q *request) deleteQuery(opts *metav1.DeleteOptions) error {
	if v := q.query.Get("gracePeriodSeconds"); v != "" && opts.GracePeriodSeconds == nil {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
		opts.GracePeriodSeconds = &n
	}
	if v := q.query.Get("propagationPolicy"); v != "" && opts.PropagationPolicy == nil {
		p := metav1.DeletionPropagation(v)
		opts.PropagationPolicy = &p
	}
	if v := q.query.Get("orphanDependents"); v != "" && opts.OrphanDependents == nil { //nolint:staticcheck // old clients
		b := queryTrue(q.query, "orphanDependents")
		opts.OrphanDependents = &b //nolint:staticcheck // old clients
	}
	if q.query.Get(ignoreReadErrors) != "" && opts.IgnoreStoreReadErrorWithClusterBreakingPotential == nil {
		b := queryTrue(q.query, ignoreReadErrors)
		opts.IgnoreStoreReadErrorWithClusterBreakingPotential = &b
	}
	if len(opts.DryRun) == 0 {
		opts.DryRun = q.query["dryRun"]
	}
	return nil
}

// optionsJSON turns options in any format into JSON.
func (q *request) optionsJSON(format media.Format, gvk runtimeschema.GroupVersionKind, data []byte) ([]byte, error) {
	var err error
	switch {
	case len(data) == 0:
	case format == media.YAML:
		data, err = yaml.YAMLToJSON(data)
	case format == media.Protobuf:
		data, err = protobuf.GoTypes(q.server.cfg.GoTypes).Decode(data, gvk)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return data, nil
}

// deletion is what became of an object.
type deletion struct {
	gone bool
	uid  types.UID
	data []byte
}

// deleteNamed deletes one object of the request's kind and namespace.
func (q *request) deleteNamed(ctx context.Context, name string, opts *metav1.DeleteOptions) (deletion, error) {
	for n := 1; ; n++ {
		d, err := q.tryDelete(ctx, name, opts)
		switch {
		case err == nil:
			return d, nil
		case errors.Is(err, store.ErrNotFound):
			return d, apierrors.NewNotFound(q.kind.gr, name)
		case !errors.Is(err, store.ErrConflict):
			return d, err
		case n == maxConflicts || ctx.Err() != nil:
			return d, apierrors.NewConflict(q.kind.gr, name, errModified)
		}
	}
}

func (q *request) tryDelete(ctx context.Context, name string, opts *metav1.DeleteOptions) (deletion, error) {
	var d deletion
	live, err := q.load(name)
	if err != nil {
		return d, err
	}
	c, err := q.newChange(resource.Delete, len(opts.DryRun) > 0)
	if err != nil {
		return d, err
	}
	c.Name, c.Subresource = name, ""
	if err := c.setLive(live); err != nil {
		return d, err
	}
	c.managed = c.liveManaged
	d.uid = uidOf(c.Old)
	if p := opts.Preconditions; p != nil {
		if p.UID != nil && *p.UID != d.uid {
			return d, apierrors.NewConflict(c.k.gr, name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, d.uid)) //nolint:staticcheck // upstream's message
		}
		if rv := jsontree.String(c.Old, "metadata", "resourceVersion"); p.ResourceVersion != nil && *p.ResourceVersion != rv {
			return d, apierrors.NewConflict(c.k.gr, name, fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, rv)) //nolint:staticcheck // upstream's message
		}
	}
	if err := c.admitDelete(ctx, opts); err != nil {
		return d, err
	}
	changed, err := c.markDeleted(ctx, opts)
	if err != nil {
		return d, err
	}
	switch {
	case c.Object == nil || c.mayGo():
		d.gone = true
		d.data, err = c.remove(ctx)
	case changed:
		d.data, err = c.replace(ctx)
	default:
		if q.op != nil {
			err = q.op.keep(c)
		}
		if err == nil {
			d.data, err = c.k.present(live.Data)
		}
	}
	c.q.warn(c.Warnings...)
	return d, err
}

// markDeleted decides about a deletion: Object stays nil where the object goes at once;
// otherwise it is the object with what it has to wait for.
func (c *change) markDeleted(ctx context.Context, opts *metav1.DeleteOptions) (changed bool, err error) {
	grace, err := c.gracePeriod(ctx, opts)
	if err != nil {
		return false, err
	}
	obj := jsontree.CopyMap(c.Old)
	meta := jsontree.Map(obj, "metadata")
	finalizers := stringList(meta["finalizers"])
	wanted := collectorFinalizers(finalizers, opts)
	if !slices.Equal(finalizers, wanted) {
		changed = true
		meta["finalizers"] = anyList(wanted)
		if len(wanted) == 0 {
			delete(meta, "finalizers")
		}
	}
	if stamp, _ := meta["deletionTimestamp"].(string); stamp != "" {
		before, _ := meta["deletionGracePeriodSeconds"].(int64)
		if grace < before {
			if at, err := time.Parse(time.RFC3339, stamp); err == nil {
				meta["deletionTimestamp"] = rfc3339(at.Add(time.Duration(grace-before) * time.Second))
			}
			meta["deletionGracePeriodSeconds"] = grace
			changed = true
		}
		c.Object = obj
		return changed, nil
	}
	if grace == 0 && !c.k.pending(obj) {
		return true, nil
	}
	meta["deletionTimestamp"] = rfc3339(c.q.server.cfg.Now().Add(time.Duration(grace) * time.Second))
	switch {
	case c.k.isNamespace:
		status, ok := obj["status"].(map[string]any)
		if !ok {
			status = map[string]any{}
			obj["status"] = status
		}
		status["phase"] = "Terminating"
	case c.k.marker != nil:
		if err := c.k.marker.MarkDeleted(obj, c.q.server.cfg.Now()); err != nil {
			return false, err
		}
	default:
		meta["deletionGracePeriodSeconds"] = grace
		if gen, ok := meta["generation"].(int64); ok && gen > 0 {
			meta["generation"] = gen + 1
		}
	}
	c.Object = obj
	return true, nil
}

func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func (c *change) gracePeriod(ctx context.Context, opts *metav1.DeleteOptions) (int64, error) {
	if c.k.deleter == nil {
		return 0, nil
	}
	asked := opts.GracePeriodSeconds
	if before, ok := jsontree.Get(c.Old, "metadata", "deletionGracePeriodSeconds").(int64); ok && asked == nil {
		asked = &before
	}
	grace, err := c.k.deleter.GracePeriod(ctx, &c.Request, asked)
	if err != nil {
		return 0, hookError(err)
	}
	return max(grace, 0), nil
}

// collectorFinalizers returns the finalizers with those of the garbage collector that
// the propagation policy asks for.
func collectorFinalizers(have []string, opts *metav1.DeleteOptions) []string {
	orphan := slices.Contains(have, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(have, metav1.FinalizerDeleteDependents)
	switch {
	case opts.OrphanDependents != nil: //nolint:staticcheck // old clients
		orphan, foreground = *opts.OrphanDependents, false //nolint:staticcheck // old clients
	case opts.PropagationPolicy != nil:
		orphan = *opts.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *opts.PropagationPolicy == metav1.DeletePropagationForeground
	}
	out := withoutString(withoutString(have, metav1.FinalizerOrphanDependents), metav1.FinalizerDeleteDependents)
	if orphan {
		out = append(out, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		out = append(out, metav1.FinalizerDeleteDependents)
	}
	return out
}

// deleteWorkers is how many objects of a collection are deleted at once, so that their
// writes share entries of the log.
const deleteWorkers = 16

// deleteCollection deletes what a list selects.
func (q *request) deleteCollection() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	opts, err := q.deleteOptions()
	if err != nil {
		return err
	}
	l, err := q.collect()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := make(chan string)
	base := *q // a request's warnings are not for many goroutines
	base.warnings = nil
	for range min(deleteWorkers, len(l.objects)) {
		wg.Go(func() {
			for name := range next {
				worker := base
				_, err := worker.deleteNamed(q.ctx, name, opts)
				mu.Lock()
				if err != nil && !apierrors.IsNotFound(err) {
					first = errors.Join(first, err)
				}
				q.warn(worker.warnings...)
				mu.Unlock()
			}
		})
	}
	for _, o := range l.objects {
		next <- nameOf(o.Key)
	}
	close(next)
	wg.Wait()
	if first != nil {
		return first
	}
	return q.respondList(l)
}

// nameOf is the last part of a key.
func nameOf(key store.Key) string {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return string(key[i+1:])
		}
	}
	return string(key)
}
