package volumes

import (
	"context"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/volume"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// operations is how many calls to storages are under way at most.
const operations = 4

// Binder binds claims and volumes to each other. Whatever it decides, it decides from a cache; so
// all that it writes carries the version that it was decided on, and who is late loses.
type Binder struct {
	kit      control.Kit
	events   record.EventRecorder
	storages Storages
	claims   corelisters.PersistentVolumeClaimLister
	volumes  corelisters.PersistentVolumeLister
	pods     cache.Indexer
	nodes    corelisters.NodeLister
	classes  *control.Lazy
	// decisions has one worker: two claims never look for a volume at the same time. calls are
	// those to storages, which take their time.
	decisions, calls *control.Loop
	watches          control.Watches
}

// Keys of the loops: a kind and the key of an object.
const (
	claimKind  = "claim:"
	volumeKind = "volume:"
)

// NewBinder returns the controller. The informers of kit must not have been started.
func NewBinder(kit control.Kit, storages Storages) (*Binder, error) {
	core := kit.Informers.Core().V1()
	claims, volumes, pods := core.PersistentVolumeClaims(), core.PersistentVolumes(), core.Pods()
	b := &Binder{
		kit: kit, events: kit.Events("persistentvolume-controller"), storages: storages,
		claims: claims.Lister(), volumes: volumes.Lister(), pods: pods.Informer().GetIndexer(), nodes: core.Nodes().Lister(),
	}
	b.decisions = control.NewLoop("persistentvolume-binder", kit.Log, b.decide)
	b.calls = control.NewLoop("persistentvolume-provisioner", kit.Log, b.call)
	classes := func(any) { b.lookAtUnbound(func(*v1.PersistentVolumeClaim) bool { return true }) }
	b.classes = control.NewLazy(kit, func() cache.SharedIndexInformer {
		return kit.Informers.Storage().V1().StorageClasses().Informer()
	}, nil, control.Touched(classes))
	storages.Changed(b.lookAtAll)
	if err := indexPods(pods.Informer()); err != nil {
		return nil, err
	}
	return b, b.watches.Add("the binding of claims", control.Handlers{
		claims.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { b.decisions.Add(claimKind + control.KeyOf(obj.(*v1.PersistentVolumeClaim))) },
			UpdateFunc: func(_, obj any) { b.decisions.Add(claimKind + control.KeyOf(obj.(*v1.PersistentVolumeClaim))) },
			DeleteFunc: control.OnGone(func(c *v1.PersistentVolumeClaim) {
				if c.Spec.VolumeName != "" {
					b.decisions.Add(volumeKind + c.Spec.VolumeName)
				}
				b.lookAtVolumesOf(c)
			}),
		},
		volumes.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { b.volumeSeen(obj.(*v1.PersistentVolume)) },
			UpdateFunc: func(_, obj any) { b.volumeSeen(obj.(*v1.PersistentVolume)) },
			DeleteFunc: control.OnGone(func(pv *v1.PersistentVolume) {
				if ref := pv.Spec.ClaimRef; ref != nil {
					b.decisions.Add(claimKind + ref.Namespace + "/" + ref.Name)
				}
			}),
		},
		pods.Informer(): control.Seen(func(p *v1.Pod) {
			if len(p.Spec.Volumes) > 0 && p.Spec.NodeName == "" {
				for _, key := range claimsOf(p) {
					b.decisions.Add(claimKind + key) // its event says which pods are waited for
				}
			}
		}),
		core.Nodes().Informer(): nil,
	})
}

// Run works until ctx is cancelled.
func (b *Binder) Run(ctx context.Context) {
	b.watches.Run(ctx, b.decisions.Workers(1), b.calls.Workers(operations))
}

// volumeSeen looks at a volume and at the claims that it may be for.
func (b *Binder) volumeSeen(pv *v1.PersistentVolume) {
	b.decisions.Add(volumeKind + pv.Name)
	if ref := pv.Spec.ClaimRef; ref != nil {
		b.decisions.Add(claimKind + ref.Namespace + "/" + ref.Name)
		return
	}
	if pv.Status.Phase == v1.VolumeAvailable {
		class := volume.GetPersistentVolumeClass(pv)
		b.lookAtUnbound(func(c *v1.PersistentVolumeClaim) bool {
			return c.Spec.VolumeName == pv.Name || volume.GetPersistentVolumeClaimClass(c) == class
		})
	}
}

// lookAtUnbound looks again at claims that wait for a volume.
func (b *Binder) lookAtUnbound(which func(*v1.PersistentVolumeClaim) bool) {
	list, err := b.claims.List(labels.Everything())
	if err != nil {
		return // of a cache: it never does
	}
	for _, c := range list {
		if !metav1.HasAnnotation(c.ObjectMeta, volume.AnnBindCompleted) && which(c) {
			b.decisions.Add(claimKind + control.KeyOf(c))
		}
	}
}

// lookAtVolumesOf looks again at the volumes that refer to a claim.
func (b *Binder) lookAtVolumesOf(c *v1.PersistentVolumeClaim) {
	list, err := b.volumes.List(labels.Everything())
	if err != nil {
		return
	}
	for _, pv := range list {
		if ref := pv.Spec.ClaimRef; ref != nil && ref.Namespace == c.Namespace && ref.Name == c.Name {
			b.decisions.Add(volumeKind + pv.Name)
		}
	}
}

// lookAtAll looks again at whatever may wait for a storage.
func (b *Binder) lookAtAll() {
	b.lookAtUnbound(func(*v1.PersistentVolumeClaim) bool { return true })
	list, err := b.volumes.List(labels.Everything())
	if err != nil {
		return
	}
	for _, pv := range list {
		if pv.Status.Phase == v1.VolumeReleased || pv.Status.Phase == v1.VolumeFailed || pv.DeletionTimestamp != nil {
			b.decisions.Add(volumeKind + pv.Name)
		}
	}
}

func (b *Binder) decide(ctx context.Context, key string) error {
	if name, ok := strings.CutPrefix(key, volumeKind); ok {
		pv, found, err := control.Found(b.volumes.Get(name))
		if !found {
			return err
		}
		return b.syncVolume(ctx, pv)
	}
	claim, found, err := b.claim(strings.TrimPrefix(key, claimKind))
	if !found {
		return err
	}
	if metav1.HasAnnotation(claim.ObjectMeta, volume.AnnBindCompleted) {
		return b.syncBound(ctx, claim)
	}
	return b.syncUnbound(ctx, claim)
}

func (b *Binder) call(ctx context.Context, key string) error {
	if name, ok := strings.CutPrefix(key, volumeKind); ok {
		pv, found, err := control.Found(b.volumes.Get(name))
		if !found {
			return err
		}
		return b.remove(ctx, pv)
	}
	claim, found, err := b.claim(strings.TrimPrefix(key, claimKind))
	if !found {
		return err
	}
	return b.provision(ctx, claim)
}

func (b *Binder) claim(key string) (*v1.PersistentVolumeClaim, bool, error) {
	return control.Lookup(key, func(namespace, name string) (*v1.PersistentVolumeClaim, error) {
		return b.claims.PersistentVolumeClaims(namespace).Get(name)
	})
}

func (b *Binder) classLister(ctx context.Context) (storagelisters.StorageClassLister, error) {
	indexer, err := b.classes.Indexer(ctx)
	if err != nil {
		return nil, fmt.Errorf("storage classes: %w", err)
	}
	return storagelisters.NewStorageClassLister(indexer), nil
}

// defaultClass returns the newest of the classes that are marked as default, nil where none is.
func defaultClass(classes storagelisters.StorageClassLister) (*storagev1.StorageClass, error) {
	list, err := classes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("storage classes: %w", err)
	}
	var best *storagev1.StorageClass
	for _, c := range list {
		marked := c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" ||
			c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
		if !marked {
			continue
		}
		switch newer := best == nil || best.CreationTimestamp.Before(&c.CreationTimestamp); {
		case newer, best.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < best.Name:
			best = c
		}
	}
	return best, nil
}
