package cel

import (
	"fmt"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"

	celenv "github.com/pintle-dev/pintle/crd/cel"
)

// TypeChecker checks expressions against what is known of the types of objects and
// parameters, which compiling does not look at.
type TypeChecker struct{ composed *plugincel.CompositedCompiler }

// NewTypeChecker returns a type checker. A nil type means that nothing is known of it;
// hasParams says whether there are parameters at all.
func NewTypeChecker(object, params *apiservercel.DeclType, hasParams bool) (*TypeChecker, error) {
	request, namespace := plugincel.BuildRequestType(), plugincel.BuildNamespaceType()
	types := []*apiservercel.DeclType{namespace, request}
	typeOf := func(t *apiservercel.DeclType) *cel.Type {
		if t == nil {
			return cel.DynType
		}
		types = append(types, t)
		return t.CelType()
	}
	ofObject := typeOf(object)
	variables := []cel.EnvOption{
		cel.Variable(plugincel.NamespaceVarName, namespace.CelType()),
		cel.Variable(plugincel.RequestVarName, request.CelType()),
		cel.Variable(plugincel.ObjectVarName, ofObject),
		cel.Variable(plugincel.OldObjectVarName, ofObject),
		cel.Variable(plugincel.AuthorizerVarName, library.AuthorizerType),
		cel.Variable(plugincel.RequestResourceAuthorizerVarName, library.ResourceCheckType),
	}
	if hasParams {
		variables = append(variables, cel.Variable(plugincel.ParamsVarName, typeOf(params)))
	}
	base, err := celenv.Base()
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what it is about
	}
	set, err := base.Extend(
		environment.VersionedOptions{IntroducedVersion: celenv.Always, EnvOptions: variables, DeclTypes: types})
	if err != nil {
		return nil, fmt.Errorf("CEL environment for type checking: %w", err)
	}
	composed, err := plugincel.NewCompositedCompilerForTypeChecking(set)
	if err != nil {
		return nil, fmt.Errorf("CEL environment for type checking: %w", err)
	}
	composed.Compiler = typing{composed}
	return &TypeChecker{composed}, nil
}

// Variable declares a variable that is as its expression.
func (t *TypeChecker) Variable(name, expression string) {
	t.composed.CompileAndStoreVariable(variable{text(expression), name}, Declared{}, StoredExpressions)
}

// Check says what is wrong with an expression; nil if nothing is.
func (t *TypeChecker) Check(expression string) *apiservercel.Error {
	return t.composed.CompileCELExpression(variable{text: text(expression)}, Declared{}, StoredExpressions).Error
}

// typing finds the types of expressions; it makes no programs.
type typing struct{ composed *plugincel.CompositedCompiler }

// CompileCELExpression implements plugincel.Compiler.
func (t typing) CompileCELExpression(e Expression, _ Declared, mode environment.Type) Result {
	env, err := t.composed.Env(mode)
	if err != nil {
		return failed(e, apiservercel.ErrorTypeInternal, nil, "fail to build env: %v", err)
	}
	ast, issues := env.Compile(e.GetExpression())
	if issues != nil {
		return failed(e, apiservercel.ErrorTypeInvalid, nil, "%v", issues)
	}
	return Result{OutputType: ast.OutputType()}
}
