package agent

import (
	"context"
	"fmt"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseSeconds is how long a node is believed after its last renewal.
const leaseSeconds = int32(40)

// keepLease renews the node's lease until the context ends.
func (a *Agent) keepLease(ctx context.Context, node *corev1.Node) {
	tick := time.NewTicker(a.cfg.LeaseInterval)
	defer tick.Stop()
	var lease *coordv1.Lease
	for {
		next, err := a.renew(ctx, node, lease)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("cannot renew the node's lease", "err", err)
			lease = nil // look again at what there is
		} else {
			lease = next
		}
		wait := tick.C
		if err != nil {
			// A second look is cheaper than a node taken for dead.
			soon := time.NewTimer(time.Second)
			defer soon.Stop()
			wait = soon.C
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		}
	}
}

func (a *Agent) renew(ctx context.Context, node *corev1.Node, lease *coordv1.Lease) (*coordv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.LeaseInterval)
	defer cancel()
	leases := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	if lease == nil {
		have, err := leases.Get(ctx, a.cfg.NodeName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return a.createLease(ctx, node)
		case err != nil:
			return nil, fmt.Errorf("get lease: %w", err)
		}
		lease = have
	}
	next := lease.DeepCopy()
	a.fillLease(next, node)
	got, err := leases.Update(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("update lease: %w", err)
	}
	return got, nil
}

func (a *Agent) fillLease(l *coordv1.Lease, node *corev1.Node) {
	seconds, now, holder := leaseSeconds, metav1.NowMicro(), a.cfg.NodeName
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &holder, &seconds, &now
	if node != nil && len(l.OwnerReferences) == 0 {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
	}
}

func (a *Agent) createLease(ctx context.Context, node *corev1.Node) (*coordv1.Lease, error) {
	l := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: a.cfg.NodeName}}
	a.fillLease(l, node)
	got, err := a.client.CoordinationV1().Leases(l.Namespace).Create(ctx, l, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}}
		if _, nerr := a.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); nerr != nil && !apierrors.IsAlreadyExists(nerr) {
			return nil, fmt.Errorf("create namespace of leases: %w", nerr)
		}
		got, err = a.client.CoordinationV1().Leases(l.Namespace).Create(ctx, l, metav1.CreateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("create lease: %w", err)
	}
	return got, nil
}
