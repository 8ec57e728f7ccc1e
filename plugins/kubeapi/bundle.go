package kubeapi

import (
	"fmt"
	"net/netip"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Options are the settings of the bundle. The zero value is usable.
type Options struct {
	// ServiceCIDRs are the ranges cluster IPs come from, at most one of each family,
	// the primary one first. Default 10.96.0.0/16.
	ServiceCIDRs []string
	// NodePortMin and NodePortMax bound the node ports, both included. Default
	// 30000 and 32767.
	NodePortMin, NodePortMax int
	// ServiceAccountToken answers creates of serviceaccounts/token. Nil leaves the
	// subresource unserved.
	ServiceAccountToken resource.Subresourcer
	// RBACAdmission is called for each write of an RBAC kind, after its own Prepare: the
	// place of the escalation check. Nil checks nothing.
	RBACAdmission resource.Preparer
}

// Bundle is the set of Kubernetes types. It is safe for concurrent use.
type Bundle struct {
	definitions []*crd.Definition
	hooks       map[runtimeschema.GroupResource]any
	err         error
}

var _ resource.Bundle = (*Bundle)(nil)

// New returns the bundle. A mistake in the options is reported by Definitions.
func New(o Options) *Bundle {
	if len(o.ServiceCIDRs) == 0 {
		o.ServiceCIDRs = []string{"10.96.0.0/16"}
	}
	if o.NodePortMin == 0 && o.NodePortMax == 0 {
		o.NodePortMin, o.NodePortMax = 30000, 32767
	}
	b := &Bundle{hooks: map[runtimeschema.GroupResource]any{}}
	b.err = o.validate()
	return b
}

func (o *Options) validate() error {
	if len(o.ServiceCIDRs) > 2 {
		return fmt.Errorf("serviceCIDRs: at most one range of each address family, have %d", len(o.ServiceCIDRs))
	}
	for i, c := range o.ServiceCIDRs {
		if _, err := netip.ParsePrefix(c); err != nil {
			return fmt.Errorf("serviceCIDRs[%d]: %w", i, err)
		}
	}
	if o.NodePortMin < 1 || o.NodePortMax > 65535 || o.NodePortMin > o.NodePortMax {
		return fmt.Errorf("node ports %d-%d: must be a range within 1-65535", o.NodePortMin, o.NodePortMax)
	}
	return nil
}

// Definitions implements resource.Bundle.
func (b *Bundle) Definitions() ([]*crd.Definition, error) {
	return b.definitions, b.err
}

// Hooks implements resource.Bundle.
func (b *Bundle) Hooks(gr runtimeschema.GroupResource) any {
	return b.hooks[gr]
}
