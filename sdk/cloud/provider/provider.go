package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

// New makes a plugin of a provider. factory gets the provider's configuration, nil where there is
// none, as a cloudprovider.Factory does.
func New(info plugin.Info, factory func(config io.Reader) (cloudprovider.Interface, error)) cloud.Cloud {
	return &adapted{info: info, factory: factory}
}

type adapted struct {
	info    plugin.Info
	factory func(io.Reader) (cloudprovider.Interface, error)
	config  string
	file    string
}

// Info implements plugin.Plugin.
func (a *adapted) Info() plugin.Info { return a.info }

// ConfigSchema implements plugin.Plugin.
func (a *adapted) ConfigSchema() []byte {
	return []byte(`{
		"type": "object",
		"properties": {
			"cloudConfig": {"type": "string", "description": "The provider's own configuration, as it is."},
			"cloudConfigFile": {"type": "string", "description": "A file with the provider's own configuration."}
		}
	}`)
}

// Configure implements plugin.Plugin.
func (a *adapted) Configure(_ context.Context, raw []byte) error {
	var s struct {
		CloudConfig     string `json:"cloudConfig"`
		CloudConfigFile string `json:"cloudConfigFile"`
	}
	if err := plugin.DecodeSettings(raw, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if s.CloudConfig != "" && s.CloudConfigFile != "" {
		return errors.New("settings.cloudConfigFile: may not be set together with settings.cloudConfig")
	}
	a.config, a.file = s.CloudConfig, s.CloudConfigFile
	return nil
}

// Open implements cloud.Cloud.
func (a *adapted) Open(ctx context.Context, env plugin.Env) (cloud.Services, error) {
	p, err := a.open()
	if err != nil {
		return cloud.Services{}, err
	}
	if p == nil {
		return cloud.Services{}, errors.New("the provider's factory made none")
	}
	clients := clientBuilder{env.Config}
	p.Initialize(clients, ctx.Done())
	if user, ok := p.(cloudprovider.InformerUser); ok {
		client, err := clients.Client("cloud-provider")
		if err != nil {
			return cloud.Services{}, fmt.Errorf("informers of the provider: %w", err)
		}
		shared := informers.NewSharedInformerFactory(client, 0)
		user.SetInformers(shared)
		shared.StartWithContext(ctx)
	}
	return Services(p), nil
}

func (a *adapted) open() (cloudprovider.Interface, error) {
	if a.file == "" {
		if a.config == "" {
			return a.factory(nil)
		}
		return a.factory(strings.NewReader(a.config))
	}
	f, err := os.Open(a.file)
	if err != nil {
		return nil, fmt.Errorf("settings.cloudConfigFile: %w", err)
	}
	defer f.Close()
	return a.factory(f)
}

// Services are what a provider offers, for who has one already.
func Services(p cloudprovider.Interface) cloud.Services {
	out := cloud.Services{Provider: p.ProviderName()}
	if v2, ok := p.InstancesV2(); ok {
		out.Instances = instances{v2}
	} else if v1, ok := p.Instances(); ok {
		old := instancesV1{instances: v1, provider: p.ProviderName()}
		old.zones, _ = p.Zones()
		out.Instances = instances{old}
	}
	if b, ok := p.LoadBalancer(); ok {
		out.LoadBalancers = balancers{b}
	}
	if r, ok := p.Routes(); ok {
		out.Routes = routes{r}
	}
	return out
}

// clientBuilder gives the provider clients with the plugin's identity.
type clientBuilder struct{ config *rest.Config }

var _ cloudprovider.ControllerClientBuilder = clientBuilder{}

// Config implements cloudprovider.ControllerClientBuilder.
func (b clientBuilder) Config(name string) (*rest.Config, error) {
	return rest.AddUserAgent(rest.CopyConfig(b.config), name), nil
}

// ConfigOrDie implements cloudprovider.ControllerClientBuilder.
func (b clientBuilder) ConfigOrDie(name string) *rest.Config {
	c, err := b.Config(name)
	if err != nil {
		panic(err)
	}
	return c
}

// Client implements cloudprovider.ControllerClientBuilder.
func (b clientBuilder) Client(name string) (kubernetes.Interface, error) {
	c, err := b.Config(name)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(c)
}

// ClientOrDie implements cloudprovider.ControllerClientBuilder.
func (b clientBuilder) ClientOrDie(name string) kubernetes.Interface {
	c, err := b.Client(name)
	if err != nil {
		panic(err)
	}
	return c
}
