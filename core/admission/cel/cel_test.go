package cel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	celgo "github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// anything is an expression of any type.
type anything string

func (e anything) GetExpression() string    { return string(e) }
func (anything) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.AnyType} }

// asker answers what expressions ask, and counts.
type asker struct{ asked int }

func (a *asker) Authorize(_ context.Context, at auth.Attributes) (bool, string, error) {
	a.asked++
	return at.Resource == "pods" && at.Verb == "get" && at.User.Name == "jane" || at.Path == "/healthz", "why not", nil
}

func input(t testing.TB, a auth.Authorizer) *cel.Input {
	t.Helper()
	kind := schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	resources := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	r := &admission.Request{
		Request: &resource.Request{
			Operation: resource.Update, Name: "x", Namespace: "default", Kind: kind, Resource: resources, User: resource.User{Name: "jane", Groups: []string{"g"}},
			Object: map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "x"}, "data": map[string]any{"a": strings.Repeat("a", 1000), "n": int64(3), "l": []any{"x", "y"}}},
			Old:    map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "x"}},
		},
		Options: map[string]any{"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"},
	}
	in, err := cel.NewInput(r, resources, kind, cel.Authorizer(a))
	if err != nil {
		t.Fatal(err)
	}
	if in.Namespace, err = cel.NamespaceOf(map[string]any{"metadata": map[string]any{"name": "default", "labels": map[string]any{"l": "1"}}}); err != nil {
		t.Fatal(err)
	}
	in.Params = map[string]any{"limit": int64(5)}
	return in
}

var declared = cel.Declared{HasParams: true, HasAuthorizer: true}

func TestEvaluate(t *testing.T) {
	a := &asker{}
	in := input(t, a)
	for expression, want := range map[string]any{
		"object.data.n + params.limit": int64(8),
		"has(oldObject.data)":          false,
		"request.operation + request.options.kind + request.userInfo.username": "UPDATEUpdateOptionsjane",
		"namespaceObject.metadata.labels.l":                                    "1",
		"authorizer.group('').resource('pods').check('get').allowed()":         true,
		"authorizer.group('').resource('pods').check('list').reason()":         "why not",
		"authorizer.path('/healthz').check('get').allowed()":                   true,
		"authorizer.requestResource.check('update').allowed()":                 false,
		"object.data.a.replace('a', 'bb').size()":                              int64(2000),
		"object.data.a.replace('a', 'bb', 1).size()":                           int64(1001),
		"object.data.l.join('-') + ['z'].join()":                               "x-yz",
		"'%s %d %.2f %s'.format(['a', 1, 2.0, {'k': ['v']}])":                  `a 1 2.00 {"k":["v"]}`,
		"object.data.l + [dyn(1)] + object.data.l == [dyn('x'), dyn('y'), dyn(1), dyn('x'), dyn('y')] && (b'a' + b'b') == b'ab' && 1 + 1 == 2 && 'a' + string(1.5 + 1.0) == 'a2.5'": true,
		"timestamp('2020-01-01T00:00:00Z') + duration('1h') == timestamp('2020-01-01T01:00:00Z')":                                                                                   true,
		"strings.quote('a')": `"a"`,
		"[1, 2].exists(x, object.data.l.exists(y, y == 'x'))":           true,
		"quantity('1Gi').isGreaterThan(quantity('1Mi')) && isIP('::1')": true,
		"object.?data.?none.orValue('default')":                         "default",
	} {
		results, _, err := in.Evaluate(context.Background(), cel.Plain().All([]cel.Expression{anything(expression), nil}, declared, cel.NewExpressions), celconfig.RuntimeCELCostBudget)
		if err != nil || results[0].Error != nil {
			t.Errorf("%s: %v %v", expression, err, results[0].Error)
			continue
		}
		if got := results[0].EvalResult.Value(); got != want && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, want %v", expression, got, want)
		}
	}
	before := a.asked
	all := cel.Plain().All([]cel.Expression{anything("authorizer.path('/healthz').check('get').allowed()")}, declared, cel.NewExpressions)
	if _, _, err := in.Evaluate(context.Background(), all, celconfig.RuntimeCELCostBudget); err != nil || a.asked != before {
		t.Errorf("%d questions, %v: the answer was known", a.asked-before, err)
	}
}

// patience is the processor time that an evaluation may take, whatever else the machine
// does: a second, and what the garbage collector takes at the same time.
const patience = 1500 * time.Millisecond

// spent is the processor time of this process.
func spent(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStringsAreBounded has functions make more of strings than there is room for.
func TestStringsAreBounded(t *testing.T) {
	in := input(t, &asker{})
	double := func(f string, n int) string {
		s := "object.data.a"
		for range n {
			s = strings.ReplaceAll(f, "$", s)
		}
		return s + ".size() == 0"
	}
	for name, expression := range map[string]string{
		"replace":       double("$.replace('', object.data.a)", 4),
		"replace dyn":   "dyn(object.data.a).replace(dyn(''), dyn(object.data.a)).replace('', object.data.a).size() == 0",
		"join":          double("[$].map(x, [x, x, x, x, x, x, x, x, x, x].join(x))[0]", 12),
		"format":        double("[$].map(x, '%s%s%s%s'.format([x, x, x, x]))[0]", 20),
		"nested format": double("[$].map(x, '%s'.format([[[x, x, x], {'a': [x, x, x, x]}]]))[0]", 20),
		"precision":     "'%.999999999f'.format([1.0]).size() == 0",
		"quote":         double("strings.quote($)", 40),
		"plus":          double("[$].map(x, x + x)[0]", 40),
		"lists":         strings.Replace(double("[$].map(x, x + x)[0]", 40), "object.data.a", "object.data.l", 1),
		"many":          "object.data.a.split('').all(x, object.data.a.split('').all(y, object.data.a.replace('a', object.data.a).size() > 0))",
	} {
		t.Run(name, func(t *testing.T) {
			all := cel.Plain().All([]cel.Expression{anything(expression)}, declared, cel.NewExpressions)
			started := spent(t)
			results, _, err := in.Evaluate(context.Background(), all, celconfig.RuntimeCELCostBudget)
			if took := spent(t) - started; took > patience && !raced {
				t.Errorf("took %v", took)
			}
			if err == nil && results[0].Error == nil {
				t.Errorf("evaluated to %v", results[0].EvalResult)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	in := input(t, &asker{})
	const loop = "object.data.a.split('').all(x, object.data.a.contains(x))"
	all := cel.Plain().All([]cel.Expression{anything(loop), anything(loop)}, declared, cel.NewExpressions)
	_, left, err := in.Evaluate(context.Background(), all, celconfig.RuntimeCELCostBudget)
	if err != nil || left <= 0 || left >= celconfig.RuntimeCELCostBudget {
		t.Fatalf("%d left, %v", left, err)
	}
	spent := celconfig.RuntimeCELCostBudget - left
	if _, _, err := in.Evaluate(context.Background(), all, spent-1); !errors.Is(err, apiservercel.ErrOutOfBudget) {
		t.Errorf("%v with less than is needed", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	results, _, err := in.Evaluate(ctx, all, celconfig.RuntimeCELCostBudget)
	if err == nil && results[0].Error == nil {
		t.Error("evaluated without end in a context that has ended")
	}
}

func TestConditions(t *testing.T) {
	in := input(t, &asker{})
	for _, tt := range []struct {
		expressions     []string
		matches         bool
		failed, message string
	}{
		{nil, true, "", ""},
		{[]string{"true", "object.data.n == 3"}, true, "", ""},
		{[]string{"true", "object.data.n == 4"}, false, "c1", ""},
		{[]string{"object.none == 1", "false"}, false, "c1", ""},
		{[]string{"object.none == 1", "true"}, false, "", "expression 'object.none == 1' resulted in error: no such key: none"},
		{[]string{"namespaceObject == null"}, true, "", ""},
		{[]string{"1"}, false, "", "compilation error: must evaluate to bool but got int"},
		{[]string{"authorizer.requestResource.check('update').allowed()"}, false, "c0", ""},
	} {
		var conditions []admissionregistrationv1.MatchCondition
		for i, e := range tt.expressions {
			conditions = append(conditions, admissionregistrationv1.MatchCondition{Name: fmt.Sprintf("c%d", i), Expression: e})
		}
		matches, failed, err := cel.Plain().Conditions(conditions, declared, cel.StoredExpressions).Match(context.Background(), in)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if matches != tt.matches || failed != tt.failed || message != tt.message {
			t.Errorf("%q: %v %q %q", tt.expressions, matches, failed, message)
		}
	}
}

// FuzzExpression compiles and evaluates whatever it is given: nothing may panic, nor take
// longer than a second.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"object.data.a == 'x'", "object.data.l.all(x, x.size() > 0)", "[1,2].map(x, x * 2).exists(x, x == 4)", "object.?data.?x.orValue(1)",
		"authorizer.group('').resource('pods').check('get').allowed()", "object.data.a.replace('', object.data.a)", "'%s %.3f'.format(['a', 1.0])",
		"quantity('1Gi') < 1", "url('http://x').getHost()", "ip('1.2.3.4').family()", "cidr('10.0.0.0/8').containsIP('10.0.0.1')", "semver('1.2.3').major()",
		"'aaaa'.matches('(a*)*b')", "object.data.a.findAll('a+')", "timestamp('2020-01-01T00:00:00Z') + duration('1h')", "{'a': [1, {'b': null}]}",
		"Object{metadata: Object.metadata{labels: {'a': 'b'}}}", "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: [Object.x{y: 1}]}]",
		"((((true))))", "b'\\xff' == b''", "1u / 0u", "-9223372036854775808 / -1", "variables.x", "object[\"data\"].l[1] in ['y']", "sets.contains([1], [1])", "[3,1].isSorted()",
	} {
		f.Add(seed)
	}
	patching := declared
	patching.HasPatchTypes = true
	f.Fuzz(func(t *testing.T, expression string) {
		started := spent(t)
		in := input(t, &asker{})
		results, _, err := in.Evaluate(context.Background(), cel.Plain().All([]cel.Expression{anything(expression)}, patching, cel.NewExpressions), celconfig.RuntimeCELCostBudget)
		if took := spent(t) - started; took > patience && !raced {
			t.Errorf("took %v", took)
		}
		if err == nil && len(results) != 1 {
			t.Errorf("%d results", len(results))
		}
	})
}
