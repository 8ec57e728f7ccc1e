package policy

import (
	celgo "github.com/google/cel-go/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"

	"github.com/pintle-dev/pintle/core/admission/cel"
)

// expression is text with the types it may evaluate to.
type expression struct {
	text  string
	types []*celgo.Type
}

var _ cel.Expression = expression{}

// GetExpression implements cel.Expression.
func (e expression) GetExpression() string { return e.text }

// ReturnTypes implements cel.Expression.
func (e expression) ReturnTypes() []*celgo.Type { return e.types }

var (
	toBool         = []*celgo.Type{celgo.BoolType}
	toString       = []*celgo.Type{celgo.StringType}
	toStringOrNull = []*celgo.Type{celgo.StringType, celgo.NullType}
)

func validation(text string) cel.Expression { return expression{text, toBool} }

func message(text string) cel.Expression { return expression{text, toString} }

func auditValue(text string) cel.Expression { return expression{text, toStringOrNull} }

func applyConfiguration(text string) cel.Expression {
	return &patch.ApplyConfigurationCondition{Expression: text}
}

func jsonPatch(text string) cel.Expression { return &patch.JSONPatchCondition{Expression: text} }

// compiler returns the compiler for a policy's expressions, with its variables declared.
func (p *policy) compiler() (*cel.Compiler, error) {
	if len(p.variables) == 0 {
		return cel.Plain(), nil
	}
	c, err := cel.NewComposer()
	if err != nil {
		return nil, err
	}
	for _, v := range p.variables {
		// A variable that does not compile fails what uses it.
		c.Variable(v.Name, v.Expression, p.declared(), cel.StoredExpressions)
	}
	return c, nil
}

// declared are the optional variables of most of a policy's expressions.
func (p *policy) declared() cel.Declared {
	return cel.Declared{HasParams: p.paramKind != nil, HasAuthorizer: true}
}
