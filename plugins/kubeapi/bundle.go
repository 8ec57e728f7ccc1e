package kubeapi

import (
	"context"
	"fmt"
	"sync"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/kubeapi/apps"
	"github.com/pintle-dev/pintle/plugins/kubeapi/core"
	"github.com/pintle-dev/pintle/plugins/kubeapi/devices"
	"github.com/pintle-dev/pintle/plugins/kubeapi/flowcontrol"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/define"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
	"github.com/pintle-dev/pintle/plugins/kubeapi/others"
	"github.com/pintle-dev/pintle/plugins/kubeapi/rbac"
	"github.com/pintle-dev/pintle/plugins/kubeapi/storage"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Options are the settings of the bundle. The zero value is usable.
type Options struct {
	// ServiceCIDRs are the ranges cluster IPs come from, at most one of each family,
	// the primary one first. Default 10.96.0.0/16.
	ServiceCIDRs []string
	// Shared says that other servers give out node ports too.
	Shared bool
	// NodePortMin and NodePortMax bound the node ports, both included. Default
	// 30000 and 32767.
	NodePortMin, NodePortMax int
	// ServiceAccountToken answers creates of serviceaccounts/token. Nil answers none.
	ServiceAccountToken resource.Subresourcer
	// Admission is the admission plugins that change objects when they are written; nil has
	// them all on with their defaults. Those that only refuse are to be given to the server.
	Admission *admission.Plugins
	// Writer keeps accounts in the status of other objects: evictions lower what a disruption
	// budget allows. Nil keeps none.
	Writer resource.Writer
	// Creator makes the IPAddress objects by which cluster IPs are unique. Nil makes none:
	// two services may get one address.
	Creator resource.Creator
	// RBACAdmission is called for each write of an RBAC kind: the place of the check that
	// nobody grants what they lack. Nil checks nothing.
	RBACAdmission resource.Preparer
	// CheckAdmission validates the kinds of admissionregistration.k8s.io beyond their
	// schema: rules, expressions, permissions. Nil checks nothing.
	CheckAdmission func(context.Context, *resource.Request) field.ErrorList
}

// Bundle is the set of Kubernetes types. It is safe for concurrent use.
type Bundle struct {
	types func() ([]define.Type, error)
	hooks func() map[runtimeschema.GroupResource]any
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
	b := &Bundle{types: sync.OnceValues(func() ([]define.Type, error) { return types(o) })}
	b.hooks = sync.OnceValue(func() map[runtimeschema.GroupResource]any {
		all, _ := b.types()
		m := make(map[runtimeschema.GroupResource]any, len(all))
		for _, t := range all {
			m[t.GroupResource()] = t.Hooks
		}
		return m
	})
	return b
}

func types(o Options) ([]define.Type, error) {
	if o.NodePortMin < 1 || o.NodePortMax > 65535 || o.NodePortMin > o.NodePortMax {
		return nil, fmt.Errorf("kubeapi: node ports %d-%d: must be a range within 1-65535", o.NodePortMin, o.NodePortMax)
	}
	all, err := core.Types(core.Options{
		ServiceCIDRs: o.ServiceCIDRs, Shared: o.Shared, NodePortMin: o.NodePortMin, NodePortMax: o.NodePortMax, Tokens: o.ServiceAccountToken, Writer: o.Writer,
		Creator: o.Creator, Admission: o.Admission,
	})
	if err != nil {
		return nil, fmt.Errorf("kubeapi: %w", err)
	}
	all = append(all, apps.Types()...)
	all = append(all, rbac.Types(o.RBACAdmission)...)
	all = append(all, storage.Types()...)
	all = append(all, flowcontrol.Types()...)
	all = append(all, devices.Types()...)
	all = append(all, others.Types(others.Options{CheckAdmission: o.CheckAdmission})...)
	for i, t := range all {
		if k, ok := t.Hooks.(hook.Kind); ok {
			k.OnAdmit = o.Admission.Prepare(t.GroupResource())
			all[i].Hooks = k
		}
	}
	return all, nil
}

// Definitions implements resource.Bundle.
func (b *Bundle) Definitions() ([]*crd.Definition, error) {
	all, err := b.types()
	if err != nil {
		return nil, err
	}
	out := make([]*crd.Definition, len(all))
	for i, t := range all {
		out[i] = t.Definition
	}
	return out, nil
}

// Hooks implements resource.Bundle.
func (b *Bundle) Hooks(gr runtimeschema.GroupResource) any { return b.hooks()[gr] }
