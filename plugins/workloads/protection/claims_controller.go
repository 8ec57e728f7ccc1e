package protection

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// byClaim finds pods by the keys of the claims they name.
const byClaim = "claim"

// Claims protects PersistentVolumeClaims.
type Claims struct {
	kit     control.Kit
	loop    *control.Loop
	claims  corelisters.PersistentVolumeClaimLister
	pods    cache.Indexer
	watches control.Watches
}

// NewClaims returns the controller. The informers of kit must not have been started.
func NewClaims(kit control.Kit) (*Claims, error) {
	claims, pods := kit.Informers.Core().V1().PersistentVolumeClaims(), kit.Informers.Core().V1().Pods()
	c := &Claims{kit: kit, claims: claims.Lister(), pods: pods.Informer().GetIndexer()}
	c.loop = control.NewLoop("pvcprotection", kit.Log, c.sync)
	err := pods.Informer().AddIndexers(cache.Indexers{byClaim: func(obj any) ([]string, error) {
		if p, ok := obj.(*v1.Pod); ok {
			return claimsOf(p), nil
		}
		return nil, nil
	}})
	if err != nil {
		return nil, fmt.Errorf("index pods by claim: %w", err)
	}
	return c, c.watches.Add("the protection of claims", control.Handlers{
		claims.Informer(): control.Seen(func(claim *v1.PersistentVolumeClaim) {
			if next(claim, claimFinalizer) != nothing {
				c.loop.AddObject(claim)
			}
		}),
		pods.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { c.podChanged(obj.(*v1.Pod), false) },
			UpdateFunc: func(old, obj any) {
				a, b := old.(*v1.Pod), obj.(*v1.Pod)
				if a.UID != b.UID {
					c.podChanged(a, true)
				}
				c.podChanged(b, false)
			},
			DeleteFunc: control.OnGone(func(p *v1.Pod) { c.podChanged(p, true) }),
		},
	})
}

// Run works until ctx is cancelled.
func (c *Claims) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

// claimsOf returns the keys of the claims that a pod names.
func claimsOf(p *v1.Pod) []string {
	var keys []string
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			keys = append(keys, p.Namespace+"/"+v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			keys = append(keys, p.Namespace+"/"+ephemeralName(p, v))
		}
	}
	return keys
}

func ephemeralName(p *v1.Pod, v *v1.Volume) string { return p.Name + "-" + v.Name }

// podChanged looks at the claims of a pod that may use them no more.
func (c *Claims) podChanged(p *v1.Pod, gone bool) {
	if len(p.Spec.Volumes) == 0 || (!gone && p.Spec.NodeName != "" && !control.PodFinished(p) && !shutDown(p)) {
		return
	}
	for _, key := range claimsOf(p) {
		c.loop.Add(key)
	}
}

// shutDown reports whether a pod only waits for its deletion. It may wait for its own claim.
func shutDown(p *v1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}

// uses reports whether a pod uses a claim. One without a node does not yet, and will not be
// started with a claim that is being deleted.
func uses(p *v1.Pod, claim *v1.PersistentVolumeClaim) bool {
	if p.Spec.NodeName == "" || p.Namespace != claim.Namespace {
		return false
	}
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			if v.PersistentVolumeClaim.ClaimName == claim.Name {
				return true
			}
		case v.Ephemeral != nil:
			if !shutDown(p) && ephemeralName(p, v) == claim.Name && metav1.IsControlledBy(claim, p) {
				return true
			}
		}
	}
	return false
}

func (c *Claims) sync(ctx context.Context, key string) error {
	claim, found, err := control.Lookup(key, func(namespace, name string) (*v1.PersistentVolumeClaim, error) {
		return c.claims.PersistentVolumeClaims(namespace).Get(name)
	})
	if !found {
		return err
	}
	needed := next(claim, claimFinalizer)
	if needed == nothing {
		return nil
	}
	if needed == release {
		used, err := c.used(ctx, claim)
		if used || err != nil {
			return err
		}
	}
	return write(ctx, claim, claimFinalizer, needed, func(ctx context.Context, name string, patch []byte) error {
		_, err := c.kit.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, name, patchType, patch, metav1.PatchOptions{})
		return err
	})
}

// used asks the cache, and where that shows no user, the API server: the cache may lag behind.
func (c *Claims) used(ctx context.Context, claim *v1.PersistentVolumeClaim) (bool, error) {
	known, err := control.Indexed[*v1.Pod](c.pods, byClaim, claim.Namespace+"/"+claim.Name)
	if err != nil {
		return false, err
	}
	for _, p := range known {
		if uses(p, claim) {
			return true, nil
		}
	}
	const page = 500
	for options := (metav1.ListOptions{Limit: page}); ; {
		list, err := c.kit.Client.CoreV1().Pods(claim.Namespace).List(ctx, options)
		if err != nil {
			return false, fmt.Errorf("live list of pods: %w", err)
		}
		for i := range list.Items {
			if uses(&list.Items[i], claim) {
				return true, nil
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return false, nil
		}
	}
}
