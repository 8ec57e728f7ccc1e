// Package quotatest reads and shows amounts as text, for the tests of what counts quotas.
package quotatest

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
)

// List is amounts, each as "cpu=20m".
func List(pairs ...string) v1.ResourceList {
	out := v1.ResourceList{}
	for _, p := range pairs {
		name, amount, _ := strings.Cut(p, "=")
		out[v1.ResourceName(name)] = resource.MustParse(amount)
	}
	return out
}

// Show is a list in the order of its names, as "cpu=20m pods=2".
func Show(l v1.ResourceList) string {
	var parts []string
	for _, name := range quota.Names(l) {
		q := l[name]
		parts = append(parts, fmt.Sprintf("%s=%s", name, q.String()))
	}
	return strings.Join(parts, " ")
}
