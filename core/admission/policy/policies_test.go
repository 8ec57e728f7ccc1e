package policy_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// TestInForceWhenWritten writes and deletes policies and bindings in any order: what is in
// force for the next request is always what has been written.
func TestInForceWhenWritten(t *testing.T) {
	c := newCluster(t)
	few(t)
	rapid.Check(t, func(rt *rapid.T) {
		// wants is the value that each policy demands; bound counts its bindings.
		wants, bound := map[string]string{}, map[string]map[string]bool{}
		name := rapid.SampledFrom([]string{"a", "b"})
		defer func() {
			for p := range wants {
				c.Must(200, "DELETE", group+"validatingadmissionpolicies/"+p, "")
			}
			for p := range bound {
				for b := range bound[p] {
					c.Must(200, "DELETE", group+"validatingadmissionpolicybindings/"+b, "")
				}
			}
		}()
		value := rapid.SampledFrom([]string{"1", "2"})
		rt.Repeat(map[string]func(*rapid.T){
			"write a policy": func(rt *rapid.T) {
				p, v := name.Draw(rt, "policy"), value.Draw(rt, "value")
				spec := fmt.Sprintf(`{"matchConstraints":%s,"validations":[{"expression":"object.data.a == '%s'"}]}`, about, v)
				body := fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":%q},"spec":%s}`, p, spec)
				if _, ok := wants[p]; ok {
					c.Must(200, "PATCH", group+"validatingadmissionpolicies/"+p, `{"spec":`+spec+`}`, "Content-Type", "application/merge-patch+json")
				} else {
					c.Must(201, "POST", group+"validatingadmissionpolicies", body)
				}
				wants[p] = v
			},
			"delete a policy": func(rt *rapid.T) {
				p := name.Draw(rt, "policy")
				if _, ok := wants[p]; ok {
					c.Must(200, "DELETE", group+"validatingadmissionpolicies/"+p, "")
					delete(wants, p)
				}
			},
			"bind": func(rt *rapid.T) {
				p, b := name.Draw(rt, "policy"), name.Draw(rt, "binding")
				if bound[p][p+"-"+b] {
					return
				}
				c.Must(201, "POST", group+"validatingadmissionpolicybindings", fmt.Sprintf(
					`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":"%s-%s"},"spec":{"policyName":%q,"validationActions":["Deny"]}}`, p, b, p))
				if bound[p] == nil {
					bound[p] = map[string]bool{}
				}
				bound[p][p+"-"+b] = true
			},
			"unbind": func(rt *rapid.T) {
				p, b := name.Draw(rt, "policy"), name.Draw(rt, "binding")
				if bound[p][p+"-"+b] {
					c.Must(200, "DELETE", group+"validatingadmissionpolicybindings/"+p+"-"+b, "")
					delete(bound[p], p+"-"+b)
				}
			},
			"": func(rt *rapid.T) {
				for _, v := range []string{"1", "2"} {
					want := 201
					for p, demanded := range wants {
						if len(bound[p]) > 0 && demanded != v {
							want = 422
						}
					}
					if r := c.Do("POST", configMaps+"?dryRun=All", configMap("x", `{"a":"`+v+`"}`)); r.Code != want {
						rt.Fatalf("a=%s: %d, want %d: %s; policies %v, bindings %v", v, r.Code, want, r.Body, wants, bound)
					}
				}
			},
		})
	})
}

// few makes rapid's checks few: each is of many requests.
func few(t *testing.T) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return // somebody wants more
	}
	if err := f.Value.Set("12"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// TestRestart finds policies in force that were written to a server before.
func TestRestart(t *testing.T) {
	s := storetest.Open(t)
	c := newClusterOn(t, s)
	c.validating("p", `{"validations":[{"expression":"object.kind != 'ConfigMap'"}]}`, "{}")
	again := newClusterOn(t, s)
	again.Must(422, "POST", configMaps, configMap("x", `{}`))
}

// TestNothingIsAllowedUnread keeps writes from policies that have not been read.
func TestNothingIsAllowedUnread(t *testing.T) {
	reg := registry.New()
	p, err := policy.New(policy.Config{Registry: reg, Equivalents: match.NewRegistry(reg), Authorizer: people{}})
	if err != nil {
		t.Fatal(err)
	}
	v := p.Validator()
	if idler, ok := v.(admission.Idler); !ok || idler.Idle() {
		t.Error("idle before the policies are known")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &admission.Request{Request: newRequest()}
	if err := v.Validate(ctx, r); err == nil || !strings.Contains(err.Error(), "not yet ready to handle request") {
		t.Errorf("%v", err)
	}
}

// TestIdleCostsNothing measures the way of a write where there are no policies.
func TestIdleCostsNothing(t *testing.T) {
	c := newCluster(t)
	v, _ := c.policies.Validator().(admission.Idler)
	m, _ := c.policies.Mutator().(admission.Idler)
	if n := testing.AllocsPerRun(100, func() {
		if !v.Idle() || !m.Idle() {
			t.Fatal("not idle")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMetrics(t *testing.T) {
	c := newCluster(t)
	c.validating("v", `{"failurePolicy":"Ignore","validations":[{"expression":"object.data.a == '1'"},{"expression":"object.no == 1"}]}`, "{}", `{"validationActions":["Warn","Audit"]}`)
	c.mutating("m", `{"mutations":[`+apply(`Object{metadata: Object.metadata{labels: {"new": "1"}}}`)+`]}`, "{}")
	c.Must(422, "POST", configMaps, configMap("x", `{"a":"2"}`))
	got := map[string]float64{}
	families, err := c.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{}
	for _, labels := range []string{
		"mutating_admission_policy_check no_error m m-0",
		"validating_admission_policy_check allow invalid_error v v-0",
		"validating_admission_policy_check allow invalid_error v v-1",
		"validating_admission_policy_check audit invalid_error v v-1",
		"validating_admission_policy_check deny invalid_error v v-0",
		"validating_admission_policy_check warn invalid_error v v-1",
	} {
		name, values, _ := strings.Cut(labels, " ")
		want["apiserver_"+name+"_total "+values] = 1
		want["apiserver_"+name+"_duration_seconds "+values] = 1
	}
	if !maps.Equal(got, want) {
		t.Errorf("\n have %v\n want %v", got, want)
	}
}

// TestTypeChecking finds in the status what is wrong with expressions by the schemas of what
// the policy is about.
func TestTypeChecking(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.policies.RunTypeChecking(ctx, c.API.Writer(), func() bool { return true }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	constraints := `{"resourceRules":[{"apiGroups":["","test.dev"],"apiVersions":["v1"],"operations":["*"],"resources":["pods","widgets","pods/status","*/scale"]},
		{"apiGroups":["*"],"apiVersions":["v1"],"operations":["*"],"resources":["configmaps"]}]}`
	c.validating("wrong", `{"matchConstraints":`+constraints+`,"paramKind":{"apiVersion":"v1","kind":"Rack"},"variables":[{"name":"v","expression":"object.metadata.name"}],
		"validations":[{"expression":"object.spec.size == 'x'"},{"expression":"params.data['a'] == 1","messageExpression":"string(object.metadata.foo)"},
		{"expression":"variables.v == 1"},{"expression":"request.name == oldObject.metadata.name && authorizer.path('/').check('get').allowed()"}]}`)
	c.validating("right", `{"validations":[{"expression":"object.metadata.name == 'x'"}]}`)

	wrong := status(t, c, "wrong")
	const both = "/v1, Kind=Pod: ERROR: <input>:1:%d: %s\n | %s\n | %s^\n\ntest.dev/v1, Kind=Widget: ERROR: <input>:1:%[1]d: %[2]s\n | %[3]s\n | %[4]s^\n"
	dots := func(n int) string { return strings.Repeat(".", n) }
	want := map[string]string{
		"spec.validations[0].expression":        "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'size'\n | object.spec.size == 'x'\n | ...........^\n",
		"spec.validations[1].expression":        fmt.Sprintf(both, 18, "found no matching overload for '_==_' applied to '(string, int)'", "params.data['a'] == 1", dots(17)),
		"spec.validations[1].messageExpression": fmt.Sprintf(both, 23, "undefined field 'foo'", "string(object.metadata.foo)", dots(22)),
		"spec.validations[2].expression":        fmt.Sprintf(both, 13, "found no matching overload for '_==_' applied to '(string, int)'", "variables.v == 1", dots(12)),
	}
	for _, w := range wrong.TypeChecking.ExpressionWarnings {
		if want[w.FieldRef] != w.Warning {
			t.Errorf("%s:\n have %q\n want %q", w.FieldRef, w.Warning, want[w.FieldRef])
		}
		delete(want, w.FieldRef)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if right := status(t, c, "right"); len(right.TypeChecking.ExpressionWarnings) != 0 {
		t.Errorf("%+v", right)
	}
}

type policyStatus struct {
	ObservedGeneration int64
	TypeChecking       struct {
		ExpressionWarnings []struct{ FieldRef, Warning string }
	}
}

// status waits for a policy's status.
func status(t *testing.T, c *cluster, name string) policyStatus {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		var o struct{ Status policyStatus }
		if err := json.Unmarshal(c.Must(200, "GET", group+"validatingadmissionpolicies/"+name, "").Body, &o); err != nil {
			t.Fatal(err)
		}
		if o.Status.ObservedGeneration == 1 {
			return o.Status
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no status", name)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// patience is the processor time that a request may take, whatever else the machine does: a
// second, and what the garbage collector takes at the same time.
const patience = 1500 * time.Millisecond

// spent is the processor time of this process.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostileExpressions evaluates expressions that would take for ever: they are refused
// when they are written, or cut by their cost within a second, and refuse what they are
// asked about.
func TestHostileExpressions(t *testing.T) {
	if raced {
		t.Skip("it is about time")
	}
	nested := func(n int) string {
		s := "true"
		for i := range n {
			s = fmt.Sprintf("[1,2,3,4,5,6,7,8,9,10].all(x%d, %s)", i, s)
		}
		return s
	}
	double := "'a'"
	for range 30 {
		double = "[" + double + "].map(x, x + x)[0]"
	}
	many := strings.TrimSuffix(strings.Repeat(nested(10)+" || ", 8), " || ")
	for name, expression := range map[string]string{
		"many":      many,
		"nested":    nested(10),
		"lists":     "[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d, [1,2,3,4,5,6,7,8,9,10].map(e, [1,2,3,4,5,6,7,8,9,10].map(f, object)))))).size() == 0",
		"doubles":   double + " == 'a'",
		"regex":     "object.data.a.matches('(a*)*b') && object.data.a.matches('(a|a)*c') && [1,2,3,4,5,6,7,8,9].all(x, object.data.a.matches('(a*)*(b*)*' + string(x)))",
		"replace":   "object.data.a.replace('', object.data.a).replace('', object.data.a).replace('', object.data.a).size() == 0",
		"quadratic": "object.data.a.split('').all(x, object.data.a.split('').all(y, object.data.a.contains(x + y)))",
		"deep":      strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000),
		"long":      strings.Repeat("true && ", 40000) + "false",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			validation := map[string]any{"expression": expression}
			spec, err := json.Marshal(map[string]any{"validations": []any{validation, validation}})
			if err != nil {
				t.Fatal(err)
			}
			started := spent(t)
			r := c.Do("POST", group+"validatingadmissionpolicies", `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"p"},"spec":{"matchConstraints":`+about+","+strings.TrimPrefix(string(spec), "{")+"}")
			if took := spent(t) - started; took > patience {
				t.Errorf("the check took %v", took)
			}
			if r.Code != 201 {
				if r.Code != 422 && r.Code != 413 {
					t.Errorf("%d: %.300s", r.Code, r.Body)
				}
				return
			}
			c.Must(201, "POST", group+"validatingadmissionpolicybindings",
				`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":"p"},"spec":{"policyName":"p","validationActions":["Deny"]}}`)
			started = spent(t)
			c.Must(422, "POST", configMaps, configMap("x", `{"a":"`+strings.Repeat("a", 10000)+`"}`))
			if took := spent(t) - started; took > patience {
				t.Errorf("the evaluation took %v", took)
			}
		})
	}
}
