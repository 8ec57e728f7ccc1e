package servicecidrs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	cidrsName = "service-cidr-controller"
	// finalizer keeps a ServiceCIDR while addresses need it.
	finalizer = "networking.k8s.io/service-cidr-finalizer"
	// deletionGrace is how long a deleted ServiceCIDR stays at least: writes that had got an
	// address of it before they heard of the deletion end in that time.
	deletionGrace = 10 * time.Second
)

// CIDRs says which ServiceCIDRs are ready and lets go of those that nothing needs.
type CIDRs struct {
	kit     control.Kit
	loop    *control.Loop
	cidrs   networkinglisters.ServiceCIDRLister
	ips     networkinglisters.IPAddressLister
	events  record.EventRecorder
	watches control.Watches
	now     func() time.Time
}

// NewCIDRs returns the controller. The informers of kit must not have been started.
func NewCIDRs(kit control.Kit) (*CIDRs, error) {
	cidrs, ips := kit.Informers.Networking().V1().ServiceCIDRs(), kit.Informers.Networking().V1().IPAddresses()
	c := &CIDRs{kit: kit, cidrs: cidrs.Lister(), ips: ips.Lister(), events: kit.Events(cidrsName), now: time.Now}
	c.loop = control.NewLoop(cidrsName, kit.Log, c.sync)
	return c, c.watches.Add("ServiceCIDRs and IPAddresses", control.Handlers{
		cidrs.Informer(): cache.ResourceEventHandlerFuncs{
			// Another range may free one that is to go, or be what it has been waiting with.
			AddFunc:    func(obj any) { c.loop.AddObject(obj); c.terminating() },
			UpdateFunc: func(_, obj any) { c.loop.AddObject(obj); c.terminating() },
			DeleteFunc: func(any) { c.terminating() },
		},
		ips.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { c.terminating() },
			DeleteFunc: func(any) { c.terminating() },
		},
	})
}

// Run works until ctx is cancelled.
func (c *CIDRs) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(1)) }

// terminating looks again at the ServiceCIDRs that are to go.
func (c *CIDRs) terminating() {
	all, err := c.cidrs.List(labels.Everything())
	if err != nil {
		return
	}
	for _, o := range all {
		if o.DeletionTimestamp != nil {
			c.loop.Add(o.Name)
		}
	}
}

func (c *CIDRs) sync(ctx context.Context, name string) error {
	o, found, err := control.Found(c.cidrs.Get(name))
	if !found {
		return err
	}
	if o.DeletionTimestamp == nil {
		if !slices.Contains(o.Finalizers, finalizer) {
			if err := c.setFinalizer(ctx, o, "finalizers"); err != nil {
				return err
			}
		}
		err := c.setReady(ctx, o, metav1.ConditionTrue, "", "Kubernetes Service CIDR is ready")
		if err != nil && !apierrors.IsNotFound(err) {
			c.events.Eventf(o, v1.EventTypeWarning, "KubernetesServiceCIDRError", "The ServiceCIDR Status can not be set to Ready=True")
			return err
		}
		return nil
	}
	if !slices.Contains(o.Finalizers, finalizer) {
		return nil
	}
	needed, err := c.needed(o)
	if err != nil {
		return err
	}
	if needed {
		return c.setReady(ctx, o, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating,
			"There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR")
	}
	if left := deletionGrace - c.now().Sub(o.DeletionTimestamp.Time); left > 0 {
		c.loop.AddAfter(name, left)
		return nil
	}
	return c.setFinalizer(ctx, o, "$deleteFromPrimitiveList/finalizers")
}

// needed reports whether an address of a service would be in no range without this one.
func (c *CIDRs) needed(o *networkingv1.ServiceCIDR) (bool, error) {
	all, err := c.cidrs.List(labels.Everything())
	if err != nil {
		return false, err
	}
	var others []netip.Prefix
	for _, other := range all {
		if other.Name != o.Name && other.DeletionTimestamp == nil {
			others = append(others, prefixes(other)...)
		}
	}
	own := slices.DeleteFunc(prefixes(o), func(p netip.Prefix) bool {
		return slices.ContainsFunc(others, func(other netip.Prefix) bool { return other.Bits() <= p.Bits() && other.Overlaps(p) })
	})
	if len(own) == 0 {
		return false, nil
	}
	ips, err := c.ips.List(labels.Everything())
	if err != nil {
		return false, err
	}
	for _, ip := range ips {
		a, err := netip.ParseAddr(ip.Name)
		if err == nil && managed(ip) && contains(own, a) && !contains(others, a) {
			return true, nil
		}
	}
	return false, nil
}

// prefixes are the ranges of a ServiceCIDR.
func prefixes(o *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range o.Spec.CIDRs {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// setFinalizer sends a strategic merge patch with the finalizer under a key.
func (c *CIDRs) setFinalizer(ctx context.Context, o *networkingv1.ServiceCIDR, key string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": o.UID, key: []string{finalizer}}})
	if err != nil {
		return err
	}
	_, err = c.kit.Client.NetworkingV1().ServiceCIDRs().Patch(ctx, o.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalizer of ServiceCIDR %s: %w", o.Name, err)
	}
	return nil
}

// setReady writes the condition where it says something else.
func (c *CIDRs) setReady(ctx context.Context, o *networkingv1.ServiceCIDR, status metav1.ConditionStatus, reason, message string) error {
	have := apimeta.FindStatusCondition(o.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if have != nil && have.Status == status && have.Reason == reason && have.Message == message {
		return nil
	}
	since := metav1.NewTime(c.now())
	if have != nil && have.Status == status {
		since = have.LastTransitionTime
	}
	apply := networkingv1apply.ServiceCIDR(o.Name).WithStatus(networkingv1apply.ServiceCIDRStatus().WithConditions(
		metav1apply.Condition().WithType(networkingv1.ServiceCIDRConditionReady).WithStatus(status).
			WithReason(reason).WithMessage(message).WithLastTransitionTime(since)))
	_, err := c.kit.Client.NetworkingV1().ServiceCIDRs().ApplyStatus(ctx, apply, metav1.ApplyOptions{FieldManager: cidrsName, Force: true})
	if err != nil {
		return fmt.Errorf("condition of ServiceCIDR %s: %w", o.Name, err)
	}
	return nil
}
