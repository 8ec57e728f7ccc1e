package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const nodeName = "hollow"

// hollow stands in for the two things that a control plane alone has not: a node, on which
// pods run by saying so, and who binds volumes. A container whose command is "succeed" or
// "fail" ends so, one whose image is named "broken" never starts, all others run until they
// are deleted.
type hollow struct {
	t      *testing.T
	client kubernetes.Interface
}

// startHollow lets a hollow node of its own join the cluster; it leaves with the test.
func startHollow(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	h := &hollow{t: t, client: client}
	now := metav1.Now()
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("250"),
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName}}}
	node, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status = corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Hollow", LastHeartbeatTime: now, LastTransitionTime: now,
	}}}
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	go h.live(ctx)

	factory := informers.NewSharedInformerFactory(client, 0)
	pods, claims := factory.Core().V1().Pods().Informer(), factory.Core().V1().PersistentVolumeClaims().Informer()
	each := func(do func(context.Context, any) error) cache.ResourceEventHandlerFuncs {
		f := func(o any) {
			if err := do(ctx, o); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				t.Errorf("the hollow node: %v", err)
			}
		}
		return cache.ResourceEventHandlerFuncs{AddFunc: f, UpdateFunc: func(_, o any) { f(o) }}
	}
	if _, err := pods.AddEventHandler(each(h.pod)); err != nil {
		t.Fatal(err)
	}
	if _, err := claims.AddEventHandler(each(h.claim)); err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, claims.HasSynced) {
		t.Fatal("the hollow node sees no pods")
	}
}

// live renews the node's lease, so that nobody takes it for dead.
func (h *hollow) live(ctx context.Context) {
	leases := h.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	name, seconds, now := nodeName, int32(40), metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	_, err := leases.Create(ctx, lease, metav1.CreateOptions{})
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for ; err == nil; <-tick.C {
		if ctx.Err() != nil {
			return
		}
		renew := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().UTC().Format(metav1.RFC3339Micro))
		_, err = leases.Patch(ctx, nodeName, types.MergePatchType, []byte(renew), metav1.PatchOptions{})
	}
	if ctx.Err() == nil {
		h.t.Errorf("the hollow node's lease: %v", err)
	}
}

func (h *hollow) pod(ctx context.Context, o any) error {
	p := o.(*corev1.Pod)
	pods := h.client.CoreV1().Pods(p.Namespace)
	switch {
	case p.Spec.NodeName != nodeName:
		return nil
	case p.DeletionTimestamp != nil:
		zero := int64(0)
		return pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	case p.Status.Phase != corev1.PodPending || len(p.Status.ContainerStatuses) > 0:
		return nil
	}
	status, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": podStatus(p)})
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, p.Name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// podStatus is what becomes of a pod.
func podStatus(p *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	s := corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "192.0.2.1", PodIP: "192.0.2.2", PodIPs: []corev1.PodIP{{IP: "192.0.2.2"}}, StartTime: &now}
	ready, reason := corev1.ConditionTrue, ""
	for _, c := range p.Spec.Containers {
		cs := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
		switch command := strings.Join(c.Command, " "); {
		case strings.HasPrefix(c.Image, "broken"):
			s.Phase, ready, reason = corev1.PodPending, corev1.ConditionFalse, "ContainersNotReady"
			cs.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "a broken image"}
		case command == "succeed":
			s.Phase, ready, reason = corev1.PodSucceeded, corev1.ConditionFalse, "PodCompleted"
			cs.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}
		case command == "fail":
			s.Phase, ready, reason = corev1.PodFailed, corev1.ConditionFalse, "PodFailed"
			cs.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1, StartedAt: now, FinishedAt: now}
		default:
			started := true
			cs.Ready, cs.Started = true, &started
			cs.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
		}
		s.ContainerStatuses = append(s.ContainerStatuses, cs)
	}
	for _, c := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: c, Status: ready, Reason: reason, LastTransitionTime: now})
	}
	return s
}

// claim binds a claim to the volume that is named as its class.
func (h *hollow) claim(ctx context.Context, o any) error {
	c := o.(*corev1.PersistentVolumeClaim)
	if c.Status.Phase == corev1.ClaimBound || c.DeletionTimestamp != nil || c.Spec.StorageClassName == nil {
		return nil
	}
	claims := h.client.CoreV1().PersistentVolumeClaims(c.Namespace)
	if c.Spec.VolumeName == "" {
		c = c.DeepCopy()
		c.Spec.VolumeName = *c.Spec.StorageClassName
		var err error
		if c, err = claims.Update(ctx, c, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	c = c.DeepCopy()
	c.Status.Phase = corev1.ClaimBound
	c.Status.AccessModes = c.Spec.AccessModes
	c.Status.Capacity = c.Spec.Resources.Requests
	_, err := claims.UpdateStatus(ctx, c, metav1.UpdateOptions{})
	return err
}
