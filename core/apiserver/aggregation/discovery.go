package aggregation

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Discovery is what discovery and OpenAPI show of the APIServices at one moment. Nobody
// changes it; a change makes another.
type Discovery struct {
	// Priorities of all group versions that have an APIService.
	Priorities map[schema.GroupVersion]Priority
	// Remote are the group versions that other servers serve, ordered.
	Remote []Remote
}

// Remote is a group version that another server serves.
type Remote struct {
	GroupVersion schema.GroupVersion
	// Resources as the server has listed them last.
	Resources []metav1.APIResource
	// Stale is set where the server does not answer at present.
	Stale bool
	// OpenAPIV3 is the path and query of its OpenAPI document, "" where it has none.
	OpenAPIV3 string
}

// Discovery returns the present state; nil before the APIServices are known.
func (a *Aggregator) Discovery() *Discovery { return a.discovery.Load() }

func (d *Discovery) sort() {
	slices.SortFunc(d.Remote, func(a, b Remote) int {
		return cmp.Or(cmp.Compare(a.GroupVersion.Group, b.GroupVersion.Group), cmp.Compare(a.GroupVersion.Version, b.GroupVersion.Version))
	})
}

func (d *Discovery) equal(other *Discovery) bool {
	return maps.Equal(d.Priorities, other.Priorities) && reflect.DeepEqual(d.Remote, other.Remote)
}
