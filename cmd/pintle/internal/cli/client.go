package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/host"
)

const callTimeout = 10 * time.Second

// clientConfig is the administrator's.
func clientConfig(dir layout.Dir) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", dir.Kubeconfig(), err)
	}
	c.Timeout = callTimeout
	return c, nil
}

func kubeClient(dir layout.Dir) (kubernetes.Interface, error) {
	c, err := clientConfig(dir)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(c)
}

func pluginClient(dir layout.Dir) (dynamic.ResourceInterface, error) {
	c, err := clientConfig(dir)
	if err != nil {
		return nil, err
	}
	d, err := dynamic.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return d.Resource(host.Resource()), nil
}

// checkReady returns nil when the API server says that it is ready.
func checkReady(ctx context.Context, dir layout.Dir) error {
	client, err := kubeClient(dir)
	if err != nil {
		return err
	}
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("readyz: %w", err)
	}
	return nil
}

// checkNode returns nil when the node is Ready, as its agent has said at or after since: what
// an agent said before it was killed proves nothing.
func checkNode(ctx context.Context, dir layout.Dir, name string, since time.Time) error {
	client, err := kubeClient(dir)
	if err != nil {
		return err
	}
	n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			// Heartbeats have whole seconds.
			if c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second)) {
				return fmt.Errorf("node %s has not reported since its agent was started", name)
			}
			if c.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("node %s is not ready: %s: %s", name, c.Reason, c.Message)
		}
	}
	return errors.New("node " + name + " has not reported yet")
}
