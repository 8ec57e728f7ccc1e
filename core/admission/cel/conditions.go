package cel

import (
	"context"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// Conditions are compiled match conditions.
type Conditions struct {
	names     []string
	evaluator plugincel.ConditionEvaluator
}

// Conditions compiles match conditions. It returns nil where there are none. One that does
// not compile is an error of Match.
func (c *Compiler) Conditions(conditions []admissionregistrationv1.MatchCondition, declared Declared, mode Mode) *Conditions {
	if len(conditions) == 0 {
		return nil
	}
	out := &Conditions{}
	expressions := make([]Expression, len(conditions))
	for i, m := range conditions {
		out.names = append(out.names, m.Name)
		expressions[i] = condition{text(m.Expression)}
	}
	out.evaluator = c.All(expressions, declared, mode)
	return out
}

// Match reports whether all conditions are true. A false condition decides, whatever the
// others say, and is named. An error says that no condition was false but some could not
// be evaluated; what that means is up to the caller's failure policy. The namespace of the
// input is not seen by match conditions.
func (c *Conditions) Match(ctx context.Context, in *Input) (matches bool, failed string, err error) {
	if c == nil {
		return true, "", nil
	}
	results, _, err := in.evaluate(ctx, c.evaluator, in.Attributes.GetResource(), nil, celconfig.RuntimeCELCostBudgetMatchConditions)
	if err != nil {
		return false, "", err
	}
	var errs []error
	for i, r := range results {
		switch {
		case r.Error != nil:
			errs = append(errs, r.Error)
		case r.EvalResult == types.False:
			return false, c.names[i], nil
		}
	}
	if len(errs) > 0 {
		return false, "", utilerrors.NewAggregate(errs)
	}
	return true, "", nil
}

type condition struct{ text }

// ReturnTypes implements plugincel.ExpressionAccessor.
func (condition) ReturnTypes() []*cel.Type { return []*cel.Type{cel.BoolType} }
