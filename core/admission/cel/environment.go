package cel

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"

	celenv "github.com/pintle-dev/pintle/crd/cel"
)

// admissionEnv has the variables that every expression of admission sees. It extends the
// base environment that rules in schemas use too, which exists once in a process.
var admissionEnv = sync.OnceValues(func() (*environment.EnvSet, error) {
	request, namespace := plugincel.BuildRequestType(), plugincel.BuildNamespaceType()
	base, err := celenv.Base()
	if err != nil {
		return nil, err
	}
	set, err := base.Extend(
		environment.VersionedOptions{
			IntroducedVersion: celenv.Always,
			EnvOptions: []cel.EnvOption{
				cel.Variable(plugincel.ObjectVarName, cel.DynType),
				cel.Variable(plugincel.OldObjectVarName, cel.DynType),
				cel.Variable(plugincel.NamespaceVarName, namespace.CelType()),
				cel.Variable(plugincel.RequestVarName, request.CelType()),
			},
			DeclTypes: []*apiservercel.DeclType{namespace, request},
		},
	)
	if err != nil {
		return nil, fmt.Errorf("CEL environment of admission: %w", err)
	}
	return set, nil
})

// environments are those of one set of declarations beside the variables of admission. They
// are built on first use.
type environments struct {
	base func(environment.Type) (*cel.Env, error)

	mu    sync.Mutex
	built map[envKey]*cel.Env
}

type envKey struct {
	declared plugincel.OptionalVariableDeclarations
	mode     environment.Type
}

func (e *environments) get(declared plugincel.OptionalVariableDeclarations, mode environment.Type) (*cel.Env, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := envKey{declared, mode}
	if env, ok := e.built[key]; ok {
		return env, nil
	}
	env, err := e.base(mode)
	if err != nil {
		return nil, err
	}
	var options []cel.EnvOption
	if declared.HasParams {
		options = append(options, cel.Variable(plugincel.ParamsVarName, cel.DynType))
	}
	if declared.HasAuthorizer {
		options = append(options,
			cel.Variable(plugincel.AuthorizerVarName, library.AuthorizerType),
			cel.Variable(plugincel.RequestResourceAuthorizerVarName, library.ResourceCheckType))
	}
	if declared.HasPatchTypes {
		options = append(options, common.ResolverEnvOption(&mutation.DynamicTypeResolver{}), environment.UnversionedLib(library.JSONPatch))
	}
	if len(options) > 0 {
		if env, err = env.Extend(options...); err != nil {
			return nil, fmt.Errorf("CEL environment: %w", err)
		}
	}
	if e.built == nil {
		e.built = map[envKey]*cel.Env{}
	}
	e.built[key] = env
	return env, nil
}
