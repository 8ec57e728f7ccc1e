package cel

import (
	"fmt"
	"math"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiserver/pkg/cel/library"
)

// limit is what keeps one function from taking all memory or all time.
type limit struct {
	// check refuses arguments that it would take too much for; nil refuses none.
	check func(name string, args []ref.Val) error
	// work is what a call has to go through, as a number of bytes of strings; 0 where that is
	// so little that upstream's cost stands.
	work func(args []ref.Val, result ref.Val) int
}

// byteCost is the cost of a byte of a string, upstream's StringTraversalCostFactor.
const byteCost = 0.1

// limits are those of functions and, by their function's name, of operators.
var limits = func() map[string]limit {
	all := map[string]limit{operators.Add: {work: excess}}
	for name, size := range made {
		all[name] = limit{checkMade(size), excess}
	}
	for name, steps := range compares {
		all[name] = limit{checkSteps(steps), func(args []ref.Val, _ ref.Val) int { return counted(steps(args)) }}
	}
	return all
}()

// operatorOverloads are those of operators, which are not functions of an environment.
var operatorOverloads = map[string][]string{
	operators.Add:       {overloads.AddString, overloads.AddBytes, overloads.AddList},
	operators.Equals:    {overloads.Equals},
	operators.NotEquals: {overloads.NotEquals},
	operators.In:        {overloads.InList, overloads.InMap},
}

// untyped is the overload of calls of which it is not known which it is before arguments are.
func untyped(function string) string { return "untyped " + function }

// limited redefines functions so that they keep to their limits, and counts what they do.
func limited(env *cel.Env) ([]cel.EnvOption, []interpreter.CostTrackerOption, error) {
	var options []cel.EnvOption
	var trackers []interpreter.CostTrackerOption
	for name, l := range limits {
		ids := operatorOverloads[name]
		if ids == nil {
			option, overloads, err := redefined(env, name, l)
			if err != nil {
				return nil, nil, err
			}
			options, ids = append(options, option), overloads
		}
		for _, id := range append(ids, untyped(name)) {
			trackers = append(trackers, interpreter.OverloadCostTracker(id, tracker(name, id, l)))
		}
	}
	return options, trackers, nil
}

// tracker counts the cost of a function: upstream's, unless its work is more than that.
func tracker(name, id string, l limit) interpreter.FunctionTracker {
	upstream := &library.CostEstimator{}
	return func(args []ref.Val, result ref.Val) *uint64 {
		work := l.work(args, result)
		if work == 0 {
			return nil
		}
		own := uint64(math.Ceil(float64(work) * byteCost))
		if work > stepWork*maxSteps && compares[name] != nil {
			return &own // upstream would go through all of it
		}
		if cost := upstream.CallCost(name, id, args, result); cost != nil && *cost > own {
			return cost
		}
		return &own
	}
}

func redefined(env *cel.Env, name string, l limit) (cel.EnvOption, []string, error) {
	function, ok := env.Functions()[name]
	if !ok {
		return nil, nil, fmt.Errorf("the CEL function %s does not exist", name)
	}
	bindings, err := function.Bindings()
	if err != nil {
		return nil, nil, fmt.Errorf("the CEL function %s: %w", name, err)
	}
	var options []cel.FunctionOpt
	var ids []string
	for _, o := range function.OverloadDecls() {
		call := implementation(bindings, o.ID())
		if call == nil {
			return nil, nil, fmt.Errorf("the CEL function %s has no implementation %s", name, o.ID())
		}
		ids = append(ids, o.ID())
		options = append(options, overload(o, func(args ...ref.Val) ref.Val {
			if err := l.check(name, args); err != nil {
				return types.WrapErr(err)
			}
			return call(args...)
		}))
	}
	return cel.Function(name, options...), ids, nil
}

func overload(o *decls.OverloadDecl, call functions.FunctionOp) cel.FunctionOpt {
	binding := cel.FunctionBinding(call)
	switch len(o.ArgTypes()) {
	case 1:
		binding = cel.UnaryBinding(func(v ref.Val) ref.Val { return call(v) })
	case 2:
		binding = cel.BinaryBinding(func(a, b ref.Val) ref.Val { return call(a, b) })
	}
	if o.IsMemberFunction() {
		return cel.MemberOverload(o.ID(), o.ArgTypes(), o.ResultType(), binding)
	}
	return cel.Overload(o.ID(), o.ArgTypes(), o.ResultType(), binding)
}

// implementation finds the implementation of an overload.
func implementation(bindings []*functions.Overload, id string) functions.FunctionOp {
	for _, b := range bindings {
		switch {
		case b.Operator != id:
		case b.Unary != nil:
			return func(args ...ref.Val) ref.Val { return b.Unary(args[0]) }
		case b.Binary != nil:
			return func(args ...ref.Val) ref.Val { return b.Binary(args[0], args[1]) }
		case b.Function != nil:
			return b.Function
		}
	}
	return nil
}
