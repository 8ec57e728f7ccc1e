package volumes

import (
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// bytes is the storage in a list of resources.
func bytes(list v1.ResourceList) int64 {
	q := list[v1.ResourceStorage]
	return q.Value()
}

// parseQuantity reads a quantity; an empty one is none.
func parseQuantity(s string) (resource.Quantity, error) {
	if s == "" {
		return resource.Quantity{}, errors.New("no quantity")
	}
	return resource.ParseQuantity(s)
}
