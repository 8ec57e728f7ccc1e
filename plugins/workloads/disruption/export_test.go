package disruption

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery"
)

// ExpectedByScale is how many pods the owners of some pods ask for, where the owners are of
// types that only their scale subresource tells about.
func ExpectedByScale(ctx context.Context, d discovery.DiscoveryInterface, pods ...*v1.Pod) (int32, []string, error) {
	o := owners{discovery: d}
	return o.expected(ctx, pods)
}
