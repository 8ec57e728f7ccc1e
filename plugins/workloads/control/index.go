package control

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Names of indexes.
const (
	// ByController finds objects by the UID of their controller.
	ByController = "controller"
	// ByOrphan finds objects without a controller by their namespace.
	ByOrphan = "orphan"
)

// IndexOwners gives an informer the indexes ByController and ByOrphan, unless it has
// them.
func IndexOwners(informer cache.SharedIndexInformer) error {
	if _, done := informer.GetIndexer().GetIndexers()[ByController]; done {
		return nil
	}
	err := informer.AddIndexers(cache.Indexers{
		ByController: func(obj any) ([]string, error) {
			if ref := metav1.GetControllerOfNoCopy(obj.(metav1.Object)); ref != nil {
				return []string{string(ref.UID)}, nil
			}
			return nil, nil
		},
		ByOrphan: func(obj any) ([]string, error) {
			if m := obj.(metav1.Object); metav1.GetControllerOfNoCopy(m) == nil {
				return []string{m.GetNamespace()}, nil
			}
			return nil, nil
		},
	})
	if _, done := informer.GetIndexer().GetIndexers()[ByController]; err != nil && !done {
		return fmt.Errorf("index by owner: %w", err)
	}
	return nil
}

// Indexed returns what an index holds under a value.
func Indexed[T any](indexer cache.Indexer, index, value string) ([]T, error) {
	objs, err := indexer.ByIndex(index, value)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(objs))
	for _, obj := range objs {
		if t, ok := obj.(T); ok {
			out = append(out, t)
		}
	}
	return out, nil
}
