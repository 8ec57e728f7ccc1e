package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/scheduler/fit"
	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/plugins/scheduler/volumes"
)

// claimPatience is how long the volumes of a pod may take, when its node is chosen.
const claimPatience = 10 * time.Minute

// claims is what is known of volumes. Nothing is watched before the first pod comes that has a
// claim. All is under the engine's lock but the channels of who waits.
type claims struct {
	index *volumes.Index
	// watch starts the watches; nil where that was done, or can't be.
	watch func()
	// known is closed when all were listed once.
	known   chan struct{}
	changed chan struct{} // closed at each change
}

func newClaims() claims {
	return claims{index: volumes.New(), known: make(chan struct{}), changed: make(chan struct{})}
}

// await reports whether a pod with claims has to wait until volumes are known.
func (c *claims) await() bool {
	if c.watch != nil {
		c.watch()
		c.watch = nil
	}
	select {
	case <-c.known:
		return false
	default:
		return true
	}
}

// decodeJSON decodes what there are few of.
func decodeJSON[T any, P interface {
	*T
	runtime.Object
}](raw string) (P, error) {
	out := new(T)
	if err := json.Unmarshal([]byte(raw), out); err != nil {
		return nil, fmt.Errorf("%T: %w", *out, err)
	}
	return out, nil
}

// watchVolumes has claims, volumes and classes watched from the first pod with a claim on.
func (e *engine) watchVolumes(ctx context.Context, wg *sync.WaitGroup, c *client) {
	x := e.claims.index
	e.claims.watch = func() {
		of := func(p *model.Pod) bool { return len(p.Claims) > 0 }
		claims := reflect(ctx, wg, &source[*v1.PersistentVolumeClaim]{c, "/api/v1/persistentvolumeclaims", decodeJSON[v1.PersistentVolumeClaim]},
			newSink(func(o *v1.PersistentVolumeClaim) {
				e.volumesChanged(func() { x.SetClaim(o) }, func(p *model.Pod) bool { return p.Namespace == o.Namespace && slices.Contains(p.Claims, o.Name) })
			}, func(o *v1.PersistentVolumeClaim) { e.volumesChanged(func() { x.RemoveClaim(o) }, nil) },
				func(all []*v1.PersistentVolumeClaim) { e.volumesChanged(func() { x.ReplaceClaims(all) }, of) }))
		pvs := reflect(ctx, wg, &source[*v1.PersistentVolume]{c, "/api/v1/persistentvolumes", decodeJSON[v1.PersistentVolume]},
			newSink(func(o *v1.PersistentVolume) { e.volumesChanged(func() { x.SetVolume(o) }, of) },
				func(o *v1.PersistentVolume) { e.volumesChanged(func() { x.RemoveVolume(o) }, of) },
				func(all []*v1.PersistentVolume) { e.volumesChanged(func() { x.ReplaceVolumes(all) }, of) }))
		classes := reflect(ctx, wg, &source[*storagev1.StorageClass]{c, "/apis/storage.k8s.io/v1/storageclasses", decodeJSON[storagev1.StorageClass]},
			newSink(func(o *storagev1.StorageClass) { e.volumesChanged(func() { x.SetClass(o) }, of) },
				func(o *storagev1.StorageClass) { e.volumesChanged(func() { x.RemoveClass(o) }, of) },
				func(all []*storagev1.StorageClass) { e.volumesChanged(func() { x.ReplaceClasses(all) }, of) }))
		wg.Go(func() {
			for _, synced := range []<-chan struct{}{claims, pvs, classes} {
				select {
				case <-synced:
				case <-ctx.Done():
					return
				}
			}
			e.volumesChanged(func() { close(e.claims.known) }, of)
		})
	}
}

// volumesChanged makes a change, and has the pods tried again that it may help.
func (e *engine) volumesChanged(change func(), helps func(*model.Pod) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	close(e.claims.changed)
	e.claims.changed = make(chan struct{})
	if helps != nil {
		e.queue.Move(uint16(fit.Volumes), helps)
	}
	e.signal()
}

// volumesOf is what the claims of a pod ask of its node. Called with the lock held.
func (e *engine) volumesOf(p *model.Pod) (fit.VolumeDemand, string) {
	d, refusal := e.claims.index.Demand(p, func(claim string) bool {
		for _, other := range e.pods {
			if other.UID == p.UID || other.Namespace != p.Namespace || !slices.Contains(other.Claims, claim) {
				continue
			}
			if _, placed := e.cache.Placed(other.UID); placed {
				return true
			}
		}
		return false
	})
	if refusal != "" {
		return nil, refusal
	}
	return d, ""
}

// unboundError says why a pod did not get its volumes where it was to run.
type unboundError struct{ err error }

// Error implements error.
func (u *unboundError) Error() string {
	return `running PreBind plugin "VolumeBinding": binding volumes: ` + u.err.Error()
}

// Unwrap returns what went wrong.
func (u *unboundError) Unwrap() error { return u.err }

// bindClaims writes for which node the volumes of a pod's claims are to be, and waits until they
// are there.
func (e *engine) bindClaims(ctx context.Context, d decision) error {
	if len(d.claims) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, claimPatience, fmt.Errorf("volumes were not there after %s", claimPatience))
	defer cancel()
	for _, name := range d.claims {
		if err := e.bindClaim(ctx, d, name); err != nil {
			return &unboundError{err}
		}
	}
	for _, name := range d.claims {
		if err := e.awaitClaim(ctx, d, name); err != nil {
			return &unboundError{err}
		}
	}
	return nil
}

// choice looks how a claim is, and returns what is closed when that may have changed.
func (e *engine) choice(d decision, name string) (volumes.Choice, <-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.cache.Node(d.node)
	if n == nil || n.API == nil {
		return volumes.Choice{}, nil, fmt.Errorf("node %q is gone", d.node)
	}
	c, err := e.claims.index.Choice(d.pod.Namespace, name, n.API)
	return c, e.claims.changed, err
}

// bindClaim has the volume of a claim made for a node, where that is not under way.
func (e *engine) bindClaim(ctx context.Context, d decision, name string) error {
	c, _, err := e.choice(d, name)
	if err != nil || c.Bound || c.Node == d.node {
		return err
	}
	return e.binder.SelectNode(ctx, d.pod.Namespace, name, c.ResourceVersion, d.node)
}

// awaitClaim waits until a claim has its volume.
func (e *engine) awaitClaim(ctx context.Context, d decision, name string) error {
	for {
		c, changed, err := e.choice(d, name)
		switch {
		case err != nil || c.Bound:
			return err
		case c.Revoked != d.revoked[name]:
			return fmt.Errorf("provisioning failed for PVC %q", name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// withClaims notes for which claims of its pod a decision has to have volumes made. Called with the
// lock held.
func (e *engine) withClaims(d decision) decision {
	if len(d.pod.Claims) == 0 {
		return d
	}
	d.claims = e.claims.index.Waiting(d.pod)
	for _, name := range d.claims {
		if c, _ := e.claims.index.Choice(d.pod.Namespace, name, e.cache.Node(d.node).API); c.Revoked > 0 {
			if d.revoked == nil {
				d.revoked = map[string]int{}
			}
			d.revoked[name] = c.Revoked
		}
	}
	return d
}

// SelectNode writes into a claim, as it was decided on, for which node its volume is to be.
func (o *outcome) SelectNode(ctx context.Context, namespace, name, version, node string) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": version, "annotations": map[string]string{volume.AnnSelectedNode: node},
	}})
	if err != nil {
		return err
	}
	path := "/api/v1/namespaces/" + namespace + "/persistentvolumeclaims/" + name
	if err := o.client.patch(ctx, path, string(types.MergePatchType), body); err != nil {
		return fmt.Errorf("choose node %s for claim %s/%s: %w", node, namespace, name, err)
	}
	return nil
}

// notBound says to the pod's condition and events that its volumes are not there.
func (e *engine) notBound(d decision, err error) {
	var unbound *unboundError
	if errors.As(err, &unbound) && !errors.Is(err, context.Canceled) {
		e.binder.Refuse(d.pod, v1.PodReasonSchedulerError, unbound.Error())
	}
}
