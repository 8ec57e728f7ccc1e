package cel

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Mode says which version of the language applies: what is new in this release may only be
// used once all servers of a cluster understand it, except by what is stored already.
type Mode = environment.Type

// The modes.
const (
	// NewExpressions is for expressions that a client writes now.
	NewExpressions = environment.NewExpressions
	// StoredExpressions is for expressions that have been accepted before.
	StoredExpressions = environment.StoredExpressions
)

// Declared says which optional variables expressions may use.
type Declared = plugincel.OptionalVariableDeclarations

// Expression is what is compiled, with the types it may evaluate to.
type Expression = plugincel.ExpressionAccessor

// Result is a compiled expression, or says why it is none.
type Result = plugincel.CompilationResult

// Compiler compiles expressions that see the same variables. It is safe for concurrent
// use, except for [Compiler.Variable].
type Compiler struct {
	compiler
	composed *plugincel.CompositedCompiler
}

// Plain is the compiler for expressions without variables of their own. There is one for
// all, so that its environments are.
func Plain() *Compiler { return plain }

var plain = newPlain()

func newPlain() *Compiler {
	return &Compiler{compiler: compiler{&environments{base: func(mode environment.Type) (*cel.Env, error) {
		set, err := admissionEnv()
		if err != nil {
			return nil, err
		}
		return set.Env(mode)
	}}}}
}

// NewComposer returns a compiler for expressions that see the variables declared with
// [Compiler.Variable].
func NewComposer() (*Compiler, error) {
	set, err := admissionEnv()
	if err != nil {
		return nil, err
	}
	composed, err := plugincel.NewCompositedCompilerForTypeChecking(set)
	if err != nil {
		return nil, fmt.Errorf("CEL environment of variables: %w", err)
	}
	c := &Compiler{compiler: compiler{&environments{base: composed.Env}}, composed: composed}
	composed.Compiler, composed.ConditionCompiler, composed.MutatingCompiler = c.compiler, c.compiler, c.compiler
	return c, nil
}

// Variable compiles an expression that later ones see as variables.name. It is evaluated
// when it is first used.
func (c *Compiler) Variable(name, expression string, declared Declared, mode Mode) Result {
	return c.composed.CompileAndStoreVariable(variable{text(expression), name}, declared, mode)
}

// Compile compiles one expression.
func (c *Compiler) Compile(e Expression, declared Declared, mode Mode) Result {
	return c.CompileCELExpression(e, declared, mode)
}

// All compiles expressions that are evaluated together, within one budget. Nil expressions
// keep their place and are not evaluated.
func (c *Compiler) All(expressions []Expression, declared Declared, mode Mode) plugincel.ConditionEvaluator {
	if c.composed != nil {
		return c.composed.CompileCondition(expressions, declared, mode)
	}
	return c.CompileCondition(expressions, declared, mode)
}

// Mutation compiles an expression that makes a patch. It is evaluated in a context of
// [Compiler.Context].
func (c *Compiler) Mutation(e Expression, declared Declared, mode Mode) plugincel.MutatingEvaluator {
	if c.composed != nil {
		return c.composed.CompileMutatingEvaluator(e, declared, mode)
	}
	return c.CompileMutatingEvaluator(e, declared, mode)
}

// Context returns the context of the evaluation of a mutation, in which it finds variables
// and their cost is counted.
func (c *Compiler) Context(ctx context.Context) context.Context {
	if c.composed != nil {
		return c.composed.CreateContext(ctx)
	}
	return ctx
}

type compiler struct{ envs *environments }

var (
	_ plugincel.Compiler          = compiler{}
	_ plugincel.ConditionCompiler = compiler{}
	_ plugincel.MutatingCompiler  = compiler{}
)

// CompileCELExpression implements plugincel.Compiler.
func (c compiler) CompileCELExpression(e Expression, declared Declared, mode environment.Type) Result {
	env, err := c.envs.get(declared, mode)
	if err != nil {
		return failed(e, apiservercel.ErrorTypeInternal, nil, "unexpected error loading CEL environment: %v", err)
	}
	ast, issues := env.Compile(e.GetExpression())
	if issues != nil {
		return failed(e, apiservercel.ErrorTypeInvalid, apiservercel.NewCompilationError(issues), "compilation failed: %v", issues)
	}
	wanted := e.ReturnTypes()
	if !slices.ContainsFunc(wanted, func(t *cel.Type) bool { return ast.OutputType().IsExactType(t) || cel.AnyType.IsExactType(t) }) {
		if len(wanted) == 1 {
			return failed(e, apiservercel.ErrorTypeInvalid, nil, "must evaluate to %v but got %v", wanted[0], ast.OutputType())
		}
		return failed(e, apiservercel.ErrorTypeInvalid, nil, "must evaluate to one of %v but got %v", wanted, ast.OutputType())
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		return failed(e, apiservercel.ErrorTypeInternal, nil, "program instantiation failed: %v", err)
	}
	return Result{Program: program, ExpressionAccessor: e, OutputType: ast.OutputType()}
}

func failed(e Expression, kind apiservercel.ErrorType, cause error, format string, args ...any) Result {
	return Result{ExpressionAccessor: e, Error: &apiservercel.Error{Type: kind, Detail: fmt.Sprintf(format, args...), Cause: cause}}
}

// CompileCondition implements plugincel.ConditionCompiler.
func (c compiler) CompileCondition(expressions []Expression, declared Declared, mode environment.Type) plugincel.ConditionEvaluator {
	results := make([]Result, len(expressions))
	for i, e := range expressions {
		if e != nil {
			results[i] = c.CompileCELExpression(e, declared, mode)
		}
	}
	return plugincel.NewCondition(results)
}

// CompileMutatingEvaluator implements plugincel.MutatingCompiler.
func (c compiler) CompileMutatingEvaluator(e Expression, declared Declared, mode environment.Type) plugincel.MutatingEvaluator {
	return plugincel.NewMutatingEvaluator(c.CompileCELExpression(e, declared, mode))
}

type text string

func (t text) GetExpression() string { return string(t) }

type variable struct {
	text
	name string
}

// ReturnTypes implements plugincel.ExpressionAccessor.
func (variable) ReturnTypes() []*cel.Type { return []*cel.Type{cel.AnyType, cel.DynType} }

// GetName implements plugincel.NamedExpressionAccessor.
func (v variable) GetName() string { return v.name }
