package volumes

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// Ephemeral makes the claims of pods' ephemeral volumes, which go with their pods.
type Ephemeral struct {
	kit     control.Kit
	events  record.EventRecorder
	pods    corelisters.PodLister
	claims  corelisters.PersistentVolumeClaimLister
	loop    *control.Loop
	watches control.Watches
}

// NewEphemeral returns the controller. The informers of kit must not have been started.
func NewEphemeral(kit control.Kit) (*Ephemeral, error) {
	pods, claims := kit.Informers.Core().V1().Pods(), kit.Informers.Core().V1().PersistentVolumeClaims()
	c := &Ephemeral{kit: kit, events: kit.Events("ephemeral_volume"), pods: pods.Lister(), claims: claims.Lister()}
	c.loop = control.NewLoop("ephemeral-volume", kit.Log, c.sync)
	if err := indexPods(pods.Informer()); err != nil {
		return nil, err
	}
	indexer := pods.Informer().GetIndexer()
	return c, c.watches.Add("ephemeral volumes", control.Handlers{
		pods.Informer(): cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) {
			if p := obj.(*v1.Pod); p.DeletionTimestamp == nil && hasEphemeral(p) {
				c.loop.AddObject(p)
			}
		}},
		claims.Informer(): cache.ResourceEventHandlerFuncs{DeleteFunc: control.OnGone(func(claim *v1.PersistentVolumeClaim) {
			users, err := podsOf(indexer, claim)
			if err != nil {
				return
			}
			for _, p := range users {
				if p.DeletionTimestamp == nil && hasEphemeral(p) {
					c.loop.AddObject(p)
				}
			}
		})},
	})
}

// Run works until ctx is cancelled.
func (c *Ephemeral) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

func hasEphemeral(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Ephemeral != nil {
			return true
		}
	}
	return false
}

func (c *Ephemeral) sync(ctx context.Context, key string) error {
	cached, found, err := control.Lookup(key, func(namespace, name string) (*v1.Pod, error) { return c.pods.Pods(namespace).Get(name) })
	if !found || cached.DeletionTimestamp != nil {
		return err
	}
	missing := false
	for i := range cached.Spec.Volumes {
		if v := &cached.Spec.Volumes[i]; v.Ephemeral != nil {
			claim, there, err := control.Found(c.claims.PersistentVolumeClaims(cached.Namespace).Get(claimOf(cached, v)))
			if err != nil {
				return err
			}
			if there {
				if err := c.own(cached, claim); err != nil {
					return err
				}
			}
			missing = missing || !there
		}
	}
	if !missing {
		return nil
	}
	// The cache shows less of pods than there is; the templates are among what it does not show.
	pod, found, err := control.Found(c.kit.Client.CoreV1().Pods(cached.Namespace).Get(ctx, cached.Name, metav1.GetOptions{}))
	if !found || pod.UID != cached.UID || pod.DeletionTimestamp != nil {
		return err
	}
	for i := range pod.Spec.Volumes {
		if err := c.ensure(ctx, pod, &pod.Spec.Volumes[i]); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes the claim of a volume, where there is none.
func (c *Ephemeral) ensure(ctx context.Context, pod *v1.Pod, v *v1.Volume) error {
	if v.Ephemeral == nil || v.Ephemeral.VolumeClaimTemplate == nil {
		return nil
	}
	name := claimOf(pod, v)
	api := c.kit.Client.CoreV1().PersistentVolumeClaims(pod.Namespace)
	if claim, there, err := control.Found(api.Get(ctx, name, metav1.GetOptions{})); err != nil {
		return fmt.Errorf("claim %s/%s: %w", pod.Namespace, name, err)
	} else if there {
		return c.own(pod, claim)
	}
	template := v.Ephemeral.VolumeClaimTemplate
	claim := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: template.Annotations, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pod, v1.SchemeGroupVersion.WithKind("Pod"))},
		},
		Spec: template.Spec,
	}
	if _, err := api.Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		c.events.Event(pod, v1.EventTypeWarning, "FailedPersistentVolumeClaimCreation", fmt.Sprintf("create PVC %s: %v", name, err))
		return fmt.Errorf("create claim %s/%s: %w", pod.Namespace, name, err)
	}
	return nil
}

// own fails where a claim is not the pod's own: it has the name by chance, and is left alone.
func (c *Ephemeral) own(pod *v1.Pod, claim *v1.PersistentVolumeClaim) error {
	if metav1.IsControlledBy(claim, pod) {
		return nil
	}
	return fmt.Errorf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", claim.Namespace, claim.Name, pod.Namespace, pod.Name)
}
