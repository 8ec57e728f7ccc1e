package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

type binder struct {
	client kubernetes.Interface
	names  []string
}

// schedule finds a node for one pod and binds it. An error, such as that there is no node, is
// tried again, later each time.
func (b *binder) schedule(ctx context.Context, key types.NamespacedName) error {
	pod, err := b.client.CoreV1().Pods(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || !slices.Contains(b.names, pod.Spec.SchedulerName) {
		return nil
	}
	node, err := b.choose(ctx)
	if err != nil {
		return err
	}
	return b.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
}

// choose returns the ready node with the fewest pods.
func (b *binder) choose(ctx context.Context) (string, error) {
	nodes, err := b.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	best, fewest := "", 0
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if n.Spec.Unschedulable || !ready(n) {
			continue
		}
		pods, err := b.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.nodeName", n.Name).String(),
		})
		if err != nil {
			return "", err
		}
		if best == "" || len(pods.Items) < fewest {
			best, fewest = n.Name, len(pods.Items)
		}
	}
	if best == "" {
		return "", fmt.Errorf("none of %d nodes is ready and takes pods", len(nodes.Items))
	}
	return best, nil
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
