package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// clientFlags are kubectl's flags that say which cluster and namespace a command is for.
type clientFlags struct {
	config *genericclioptions.ConfigFlags
}

func (c *clientFlags) register(f *pflag.FlagSet) {
	c.config = genericclioptions.NewConfigFlags(true).WithDiscoveryBurst(300).WithDiscoveryQPS(50)
	c.config.AddFlags(f)
}

// factory makes clients. Without --kubeconfig and $KUBECONFIG they are the administrator's of
// the cluster in the data directory, as kubectl's are.
func (c *clientFlags) factory() (cmdutil.Factory, error) {
	if err := adoptKubeconfig(); err != nil {
		return nil, err
	}
	rest.SetDefaultWarningHandler(rest.NewWarningWriter(os.Stderr, rest.WarningWriterOptions{Deduplicate: true}))
	return cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(c.config)), nil
}

// objectRef is the type and the object that a command is for.
type objectRef struct {
	mapping         *meta.RESTMapping
	namespace, name string
}

// parseObjectRef reads KIND NAME or KIND/NAME, and KIND alone where that may be.
func parseObjectRef(factory cmdutil.Factory, args []string, alone bool) (*objectRef, error) {
	kind, name, err := splitObjectRef(args, alone)
	if err != nil {
		return nil, err
	}
	mapper, err := factory.ToRESTMapper()
	if err != nil {
		return nil, fmt.Errorf("types of the server: %w", err)
	}
	t := &objectRef{name: name}
	if t.mapping, err = mappingFor(mapper, kind); err != nil {
		return nil, err
	}
	if t.mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if t.namespace, _, err = factory.ToRawKubeConfigLoader().Namespace(); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	return t, nil
}

func splitObjectRef(args []string, alone bool) (kind, name string, err error) {
	usage := errors.New("want KIND NAME or KIND/NAME")
	if alone {
		usage = errors.New("want KIND, KIND NAME or KIND/NAME")
	}
	if len(args) == 0 || len(args) > 2 || args[0] == "" {
		return "", "", usage
	}
	kind = args[0]
	for i := range kind {
		if kind[i] == '/' {
			if len(args) == 2 {
				return "", "", usage
			}
			return kind[:i], kind[i+1:], nil
		}
	}
	if len(args) == 2 {
		return kind, args[1], nil
	}
	if !alone {
		return "", "", usage
	}
	return kind, "", nil
}

// mappingFor finds a type by what people call it: deploy, deployments.apps, Deployment.v1.apps.
func mappingFor(mapper meta.RESTMapper, name string) (*meta.RESTMapping, error) {
	full, gr := schema.ParseResourceArg(name)
	var gvk schema.GroupVersionKind
	var err error
	if full != nil {
		gvk, _ = mapper.KindFor(*full)
	}
	if gvk.Empty() {
		gvk, err = mapper.KindFor(gr.WithVersion(""))
	}
	if err == nil && !gvk.Empty() {
		return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	fullKind, gk := schema.ParseKindArg(name)
	if fullKind != nil {
		if m, err := mapper.RESTMapping(fullKind.GroupKind(), fullKind.Version); err == nil {
			return m, nil
		}
	}
	if m, err := mapper.RESTMapping(gk); err == nil {
		return m, nil
	}
	return nil, fmt.Errorf("the server doesn't have a resource type %q", name)
}

// path is that of the object or collection in the API.
func (t *objectRef) path() string {
	gvr := t.mapping.Resource
	p := "/apis/" + gvr.Group + "/" + gvr.Version
	if gvr.Group == "" {
		p = "/api/" + gvr.Version
	}
	if t.namespace != "" {
		p += "/namespaces/" + t.namespace
	}
	p += "/" + gvr.Resource
	if t.name != "" {
		p += "/" + t.name
	}
	return p
}

// String names it as kubectl does.
func (t *objectRef) String() string {
	s := t.mapping.Resource.GroupResource().String()
	if t.name != "" {
		s += fmt.Sprintf(" %q", t.name)
	}
	if t.namespace != "" {
		s += fmt.Sprintf(" in namespace %q", t.namespace)
	}
	return s
}
