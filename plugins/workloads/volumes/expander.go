package volumes

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Expander makes the volumes of claims larger that ask for more than they have.
type Expander struct {
	kit      control.Kit
	events   record.EventRecorder
	storages Storages
	claims   corelisters.PersistentVolumeClaimLister
	loop     *control.Loop
	watches  control.Watches
}

// NewExpander returns the controller. The informers of kit must not have been started.
func NewExpander(kit control.Kit, storages Storages) (*Expander, error) {
	claims := kit.Informers.Core().V1().PersistentVolumeClaims()
	e := &Expander{kit: kit, events: kit.Events("volume_expand"), storages: storages, claims: claims.Lister()}
	e.loop = control.NewLoop("persistentvolume-expander", kit.Log, e.sync)
	storages.Changed(func() {
		list, err := e.claims.List(labels.Everything())
		if err != nil {
			return
		}
		for _, c := range list {
			e.seen(c)
		}
	})
	return e, e.watches.Add("the growth of volumes", control.Handlers{claims.Informer(): control.Seen(e.seen)})
}

// Run works until ctx is cancelled.
func (e *Expander) Run(ctx context.Context) { e.watches.Run(ctx, e.loop.Workers(operations)) }

func (e *Expander) seen(c *v1.PersistentVolumeClaim) {
	if wantsMore(c) {
		e.loop.Add(control.KeyOf(c))
	}
}

func wantsMore(c *v1.PersistentVolumeClaim) bool {
	asked, has := c.Spec.Resources.Requests[v1.ResourceStorage], c.Status.Capacity[v1.ResourceStorage]
	return c.Status.Phase == v1.ClaimBound && c.DeletionTimestamp == nil && asked.Cmp(has) > 0
}

func (e *Expander) sync(ctx context.Context, key string) error {
	claim, found, err := control.Lookup(key, func(namespace, name string) (*v1.PersistentVolumeClaim, error) {
		return e.claims.PersistentVolumeClaims(namespace).Get(name)
	})
	if !found || !wantsMore(claim) {
		return err
	}
	pv, found, err := control.Found(e.kit.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{}))
	if !found {
		return err
	}
	if pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != claim.UID || pv.Spec.CSI == nil {
		if pv.Spec.CSI == nil {
			e.events.Event(claim, v1.EventTypeWarning, externalExpanding, "waiting for an external controller to expand this PVC")
		}
		return nil
	}
	services, err := e.storages.Find(ctx, pv.Spec.CSI.Driver)
	switch {
	case errors.Is(err, ErrNoStorage), err == nil && services.Expander == nil:
		e.events.Event(claim, v1.EventTypeNormal, externalExpanding, "waiting for an external controller to expand this PVC")
		return nil
	case err != nil:
		return err
	}
	return e.expand(ctx, claim, pv, services.Expander)
}

// Reasons of events.
const (
	externalExpanding = "ExternalExpanding"
	resizing          = "Resizing"
	resizeFailed      = "VolumeResizeFailed"
	resized           = "VolumeResizeSuccessful"
)

// expand makes a volume as large as its claim asks for.
func (e *Expander) expand(ctx context.Context, claim *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, by storage.Expander) error {
	asked := claim.Spec.Resources.Requests[v1.ResourceStorage]
	claim, err := e.write(ctx, claim, func(st *v1.PersistentVolumeClaimStatus) {
		if st.AllocatedResources == nil {
			st.AllocatedResources = v1.ResourceList{}
		}
		st.AllocatedResources[v1.ResourceStorage] = asked
		st.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: v1.PersistentVolumeClaimControllerResizeInProgress}
		setCondition(st, v1.PersistentVolumeClaimCondition{Type: v1.PersistentVolumeClaimResizing, Status: v1.ConditionTrue})
	})
	if err != nil {
		return err
	}
	has := pv.Spec.Capacity[v1.ResourceStorage]
	if has.Cmp(asked) < 0 {
		e.events.Event(claim, v1.EventTypeNormal, resizing, "External resizer is resizing volume "+pv.Name)
		size, err := by.ExpandVolume(ctx, pv.Spec.CSI.VolumeHandle, pv.Spec.CSI.VolumeAttributes, asked.Value())
		if err != nil {
			return e.failed(ctx, claim, pv, err)
		}
		has = asked
		if size > asked.Value() {
			has = *resource.NewQuantity(size, resource.BinarySI)
		}
		changed := pv.DeepCopy()
		changed.Spec.Capacity[v1.ResourceStorage] = has
		if _, err := e.kit.Client.CoreV1().PersistentVolumes().Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("volume %s: write its new size: %w", pv.Name, err)
		}
	}
	claim, err = e.write(ctx, claim, func(st *v1.PersistentVolumeClaimStatus) {
		if st.Capacity == nil {
			st.Capacity = v1.ResourceList{}
		}
		st.Capacity[v1.ResourceStorage] = has
		st.AllocatedResourceStatuses = nil
		st.Conditions = nil
	})
	if err != nil {
		return err
	}
	e.events.Event(claim, v1.EventTypeNormal, resized, "Resize volume succeeded")
	return nil
}

// failed says why a volume has not become larger. It goes on being tried.
func (e *Expander) failed(ctx context.Context, claim *v1.PersistentVolumeClaim, pv *v1.PersistentVolume, why error) error {
	if ctx.Err() != nil {
		return why
	}
	message := fmt.Sprintf("resize volume %q by resizer %q failed: %s", pv.Name, pv.Spec.CSI.Driver, why)
	e.events.Event(claim, v1.EventTypeWarning, resizeFailed, message)
	if _, err := e.write(ctx, claim, func(st *v1.PersistentVolumeClaimStatus) {
		setCondition(st, v1.PersistentVolumeClaimCondition{Type: v1.PersistentVolumeClaimControllerResizeError, Status: v1.ConditionTrue, Message: message})
	}); err != nil {
		return err
	}
	var retry *storage.RetryError
	if errors.As(why, &retry) {
		e.loop.AddAfter(control.KeyOf(claim), retry.After)
		return nil
	}
	return errors.New(message)
}

// write changes a claim's status where f does.
func (e *Expander) write(ctx context.Context, claim *v1.PersistentVolumeClaim, f func(*v1.PersistentVolumeClaimStatus)) (*v1.PersistentVolumeClaim, error) {
	changed := claim.DeepCopy()
	f(&changed.Status)
	if equality.Semantic.DeepEqual(&claim.Status, &changed.Status) {
		return claim, nil
	}
	written, err := e.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("claim %s: write its status: %w", control.KeyOf(claim), err)
	}
	return written, nil
}

// setCondition writes a condition; the time of its last change stays where nothing has changed.
func setCondition(st *v1.PersistentVolumeClaimStatus, c v1.PersistentVolumeClaimCondition) {
	c.LastTransitionTime = metav1.Now()
	for i := range st.Conditions {
		if have := &st.Conditions[i]; have.Type == c.Type {
			if have.Status == c.Status {
				c.LastTransitionTime = have.LastTransitionTime
			}
			*have = c
			return
		}
	}
	st.Conditions = append(st.Conditions, c)
}
