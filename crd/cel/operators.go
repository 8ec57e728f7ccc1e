package cel

import (
	"slices"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// binary are the operators that have limits. Those have no implementation that could be
// redefined, so their calls are replaced.
var binary = map[string]func(left, right ref.Val) ref.Val{
	operators.Add:    add,
	operators.Equals: types.Equal,
	operators.NotEquals: func(left, right ref.Val) ref.Val {
		return types.Bool(types.Equal(left, right) != types.True)
	},
	operators.In: func(left, right ref.Val) ref.Val {
		if c, ok := right.(traits.Container); ok {
			return c.Contains(left)
		}
		return types.NewErr("no such overload: %s", operators.In)
	},
}

// limitOperators replaces the calls of operators, and gives calls a name to count them by.
func limitOperators(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	c, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	l, ok := limits[c.Function()]
	if !ok {
		return i, nil
	}
	named := call{c, c.OverloadID()}
	if !slices.Contains(operatorOverloads[c.Function()], named.overload) && (named.overload == "" || binary[c.Function()] != nil) {
		named.overload = untyped(c.Function())
	}
	if apply := binary[c.Function()]; apply != nil && len(c.Args()) == 2 {
		return operator{named, l, apply}, nil
	}
	return named, nil
}

// call is a call whose overload has a name.
type call struct {
	interpreter.InterpretableCall
	overload string
}

// OverloadID implements interpreter.InterpretableCall.
func (c call) OverloadID() string { return c.overload }

type operator struct {
	call
	limit limit
	apply func(left, right ref.Val) ref.Val
}

// Eval implements interpreter.Interpretable.
func (o operator) Eval(vars interpreter.Activation) ref.Val {
	args := [...]ref.Val{o.Args()[0].Eval(vars), o.Args()[1].Eval(vars)}
	for _, v := range args {
		if types.IsUnknownOrError(v) {
			return v
		}
	}
	if o.limit.check != nil {
		if err := o.limit.check(o.Function(), args[:]); err != nil {
			return types.LabelErrNode(o.ID(), types.WrapErr(err))
		}
	}
	return types.LabelErrNode(o.ID(), o.apply(args[0], args[1]))
}
