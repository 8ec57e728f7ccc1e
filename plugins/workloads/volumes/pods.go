package volumes

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

// byClaim finds pods by the keys of the claims they use.
const byClaim = "volumes.claim"

// indexPods adds that index, once.
func indexPods(pods cache.SharedIndexInformer) error {
	if _, has := pods.GetIndexer().GetIndexers()[byClaim]; has {
		return nil
	}
	err := pods.AddIndexers(cache.Indexers{byClaim: func(obj any) ([]string, error) {
		if p, ok := obj.(*v1.Pod); ok {
			return claimsOf(p), nil
		}
		return nil, nil
	}})
	if err != nil {
		return fmt.Errorf("index pods by claim: %w", err)
	}
	return nil
}

// claimsOf returns the keys of the claims that a pod uses.
func claimsOf(p *v1.Pod) []string {
	var keys []string
	for i := range p.Spec.Volumes {
		if name := claimOf(p, &p.Spec.Volumes[i]); name != "" {
			keys = append(keys, p.Namespace+"/"+name)
		}
	}
	return keys
}

// claimOf returns the name of the claim of a pod's volume, empty where it has none.
func claimOf(p *v1.Pod, v *v1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

// podsOf returns the pods that use a claim.
func podsOf(pods cache.Indexer, claim *v1.PersistentVolumeClaim) ([]*v1.Pod, error) {
	return control.Indexed[*v1.Pod](pods, byClaim, control.KeyOf(claim))
}
