package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/core/host"
)

// pluginPoll is how often a command that waits for a plugin looks at it.
const pluginPoll = 200 * time.Millisecond

// pluginCluster is the cluster that a command about plugins speaks to: through its API, from
// whatever machine.
type pluginCluster struct {
	options
	kubeconfig string
}

func (c *pluginCluster) register(cmd *cobra.Command) {
	c.registerDataDir(cmd)
	cmd.Flags().StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default that of --data-dir)")
}

func (c *pluginCluster) rest() (*rest.Config, error) {
	if c.kubeconfig == "" {
		return clientConfig(layout.Dir(c.dataDir))
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	config.Timeout = callTimeout
	return config, nil
}

func (c *pluginCluster) plugins() (dynamic.ResourceInterface, error) {
	config, err := c.rest()
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // the server decides
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return d.Resource(host.Resource()), nil
}

// pathClient is for paths that no typed client knows.
func pathClient(config *rest.Config) (rest.Interface, error) {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return d.RESTClient(), nil
}

// get reads one Plugin object.
func (c *pluginCluster) get(ctx context.Context, name string) (pluginView, error) {
	client, err := c.plugins()
	if err != nil {
		return pluginView{}, err
	}
	o, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return pluginView{}, fmt.Errorf("plugin %s: %w", name, err)
	}
	return viewPlugin(o.Object)
}

// list reads all Plugin objects.
func (c *pluginCluster) list(ctx context.Context) ([]pluginView, error) {
	client, err := c.plugins()
	if err != nil {
		return nil, err
	}
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	out := make([]pluginView, 0, len(list.Items))
	for _, item := range list.Items {
		v, err := viewPlugin(item.Object)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// patch changes a Plugin object that is a wish, and returns it as it is then.
func (c *pluginCluster) patch(ctx context.Context, name string, patch map[string]any) (pluginView, error) {
	client, err := c.plugins()
	if err != nil {
		return pluginView{}, err
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return pluginView{}, fmt.Errorf("encoding the request: %w", err)
	}
	o, err := client.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "pintle-plugin"})
	if err != nil {
		return pluginView{}, fmt.Errorf("plugin %s: %w", name, err)
	}
	return viewPlugin(o.Object)
}

// wish is the named object where it is one that commands may change.
func (c *pluginCluster) wish(ctx context.Context, name string) (pluginView, error) {
	v, err := c.get(ctx, name)
	if err == nil && v.Metadata.Labels[host.Group+"/host"] != "" {
		err = fmt.Errorf("plugin %s is kept by its host: change it in the configuration (plugins)", name)
	}
	return v, err
}

// apply creates a Plugin object, or gives an existing one this spec.
func (c *pluginCluster) apply(ctx context.Context, name string, spec map[string]any) (pluginView, error) {
	client, err := c.plugins()
	if err != nil {
		return pluginView{}, err
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": host.Group + "/" + host.Version, "kind": host.Kind,
		"metadata": map[string]any{"name": name}, "spec": spec,
	}}
	o, err := client.Create(ctx, object, metav1.CreateOptions{FieldManager: "pintle-plugin"})
	for apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) { // hosts write it, too
		if _, err = c.wish(ctx, name); err != nil {
			return pluginView{}, err
		}
		var have *unstructured.Unstructured
		if have, err = client.Get(ctx, name, metav1.GetOptions{}); err != nil {
			break
		}
		have.Object["spec"] = spec
		o, err = client.Update(ctx, have, metav1.UpdateOptions{FieldManager: "pintle-plugin"})
	}
	if err != nil {
		return pluginView{}, fmt.Errorf("plugin %s: %w", name, err)
	}
	return viewPlugin(o.Object)
}

// settled waits until the hosts have carried out a generation of a plugin's object, or say why
// they don't.
func (c *pluginCluster) settled(ctx context.Context, name string, generation int64) (pluginView, error) {
	tick := time.NewTicker(pluginPoll)
	defer tick.Stop()
	var v pluginView
	for {
		now, err := c.get(ctx, name)
		switch {
		case err == nil:
			v = now
		case ctx.Err() == nil:
			return v, err
		}
		if err == nil && v.ObservedGeneration >= generation {
			if done, err := v.outcome(); done {
				return v, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return v, fmt.Errorf("plugin %s is %s: %s (it goes on; `pintle plugin info %s` shows how it is)", name, v.Health, cmp.Or(v.Reason, v.LastReason, "it has not got further"), name)
		}
	}
}

// outcome says whether what is wished for has been decided, and why it does not run.
func (v *pluginView) outcome() (done bool, err error) {
	upgraded := v.condition(host.ConditionUpgraded)
	settings := v.condition(host.ConditionSettings)
	switch {
	case settings != nil && settings.Status == metav1.ConditionFalse && v.Health != string(host.HealthDisabled):
		return true, fmt.Errorf("plugin %s waits: %s", v.Name, settings.Message)
	case upgraded != nil && upgraded.Status == metav1.ConditionFalse && upgraded.Reason != "InProgress":
		return true, fmt.Errorf("plugin %s stays at version %s: %s", v.Name, v.Version, upgraded.Message)
	case upgraded != nil && upgraded.Status == metav1.ConditionFalse:
		return false, nil
	case v.Health == string(host.HealthRefused):
		return true, fmt.Errorf("plugin %s is refused: %s", v.Name, v.Reason)
	case v.Health == string(host.HealthBackOff) && v.Circuit == string(host.CircuitOpen):
		return true, fmt.Errorf("plugin %s fails each time that it is started: %s", v.Name, v.note(time.Now()))
	case v.Health == string(host.HealthHealthy), v.Health == string(host.HealthStandby), v.Health == string(host.HealthDisabled):
		return true, nil
	}
	return false, nil
}

func (v *pluginView) condition(kind string) *metav1.Condition {
	for i := range v.Conditions {
		if v.Conditions[i].Type == kind {
			return &v.Conditions[i]
		}
	}
	return nil
}
