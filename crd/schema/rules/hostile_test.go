package rules_test

import (
	"context"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/crd/schema"
	"github.com/pintle-dev/pintle/crd/schema/rules"
)

// spent is the processor time of this process.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak runs f and returns the most memory that was in use at once, of what one sees.
func peak(f func()) uint64 {
	runtime.GC()
	done, most := make(chan struct{}), make(chan uint64)
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		var m runtime.MemStats
		top := uint64(0)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				most <- top
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapAlloc)
			}
		}
	}()
	f()
	close(done)
	return max(<-most, before.HeapAlloc) - before.HeapAlloc
}

// validate evaluates one rule for {"a": 1000 letters, "l": ["x", "y"]}.
func validate(t *testing.T, rule string) string {
	t.Helper()
	text := &schema.Schema{Type: "string"}
	s := &schema.Schema{
		Type:        "object",
		Properties:  map[string]*schema.Schema{"a": text, "l": {Type: "array", Items: text}},
		Validations: []schema.ValidationRule{{Rule: rule}},
	}
	compiled, err := rules.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	errs := compiled.Validate(context.Background(), map[string]any{"a": strings.Repeat("a", 1000), "l": []any{"x", "y"}}, nil)
	if len(errs) == 0 {
		return ""
	}
	return errs.ToAggregate().Error()
}

func TestHostileRules(t *testing.T) {
	nest := func(f, s string, n int) string {
		for range n {
			s = strings.ReplaceAll(f, "$", s)
		}
		return s
	}
	const shared = "[$].map(x, [x, x])[0]"
	for name, rule := range map[string]string{
		"replace":         nest("$.replace('', self.a)", "self.a", 4) + ".size() == 0",
		"replace dyn":     "dyn(self.a).replace(dyn(''), dyn(self.a)).replace('', self.a).size() == 0",
		"join":            nest("[$].map(x, [x, x, x, x, x, x, x, x, x, x].join(x))[0]", "self.a", 12) + ".size() == 0",
		"format":          nest("[$].map(x, '%s%s%s%s'.format([x, x, x, x]))[0]", "self.a", 20) + ".size() == 0",
		"precision":       "'%.999999999f'.format([1.0]).size() == 0",
		"quote":           nest("strings.quote($)", "self.a", 40) + ".size() == 0",
		"plus":            nest("[$].map(x, x + x)[0]", "self.a", 40) + ".size() == 0",
		"plus dyn":        nest("[$].map(x, x + x)[0]", "dyn(self.a)", 40) + ".size() == 0",
		"lists":           nest("[$].map(x, x + x)[0]", "self.l", 40) + ".size() == 0",
		"many":            "self.a.split('').all(x, self.a.split('').all(y, self.a.replace('a', self.a).size() > 0))",
		"many additions":  "self.a.split('').all(x, self.a.split('').all(y, (self.a + self.a + self.a).size() > 0))",
		"equal":           "[" + nest(shared, "dyn(1)", 40) + "].all(x, x == " + nest(shared, "dyn(1)", 40) + ")",
		"not equal":       "[" + nest(shared, "dyn(1)", 40) + "].all(x, !(x != " + nest(shared, "dyn(1)", 40) + "))",
		"in":              "[" + nest(shared, "dyn(1)", 40) + "].all(x, x in [" + nest(shared, "dyn(1)", 40) + "])",
		"index":           "[" + nest(shared, "dyn(1)", 40) + "].all(x, [" + nest(shared, "dyn(1)", 40) + "].indexOf(x) == 0)",
		"sum":             "dyn([" + nest(shared, "dyn(1)", 40) + "]).sum() == 0",
		"sorted":          "dyn([" + nest(shared, "dyn(1)", 40) + "]).isSorted()",
		"sets":            "[" + nest(shared, "dyn(1)", 40) + "].all(x, sets.equivalent([x], [" + nest(shared, "dyn(1)", 40) + "]))",
		"distinct":        "[" + nest(shared, "dyn(1)", 40) + "].all(x, [x, " + nest(shared, "dyn(1)", 40) + "].distinct().size() == 1)",
		"equal and often": "[" + nest(shared, "dyn(1)", 15) + "].all(x, self.a.split('').all(y, x == " + nest(shared, "dyn(1)", 15) + "))",
	} {
		t.Run(name, func(t *testing.T) {
			problem, started := "", spent(t)
			top := peak(func() { problem = validate(t, rule) })
			if took := spent(t) - started; took > 1500*time.Millisecond && !raced {
				t.Errorf("took %v", took)
			}
			if top > 64<<20 && !raced {
				t.Errorf("took %d MiB", top>>20)
			}
			if problem == "" {
				t.Error("the rule was evaluated")
			}
			t.Logf("%.160s", problem)
		})
	}
}

// TestRules evaluates rules with the functions and operators that have limits.
func TestRules(t *testing.T) {
	for _, rule := range []string{
		"self.a.replace('a', 'bb').size() == 2000 && self.a.replace('a', 'bb', 1).size() == 1001",
		"self.l.join('-') + self.l.join() == 'x-yxy' && '%s %d'.format(['a', 1]) == 'a 1' && strings.quote('a') == '\"a\"'",
		"self.l + ['z'] == ['x', 'y', 'z'] && self.l != ['x'] && 'x' in self.l && !('z' in self.l) && 'x' in {'x': 1} && 1 in [1, 2]",
		"self == self && [1, 2] == [1, 2] && {'a': [1]} == {'a': [1]} && dyn(1) == dyn(1.0) && !(dyn(1) == dyn('1'))",
		"self.l.indexOf('y') == 1 && 'abc'.indexOf('c') == 2 && [1, 1].lastIndexOf(1) == 1 && [1, 1].distinct() == [1] && [1, 2].sum() == 3 && [1, 2].isSorted() && ['a', 'b'].max() == 'b' && [1.0, 2.0].min() == 1.0",
		"sets.contains([1, 2], [1]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])",
		"1 + 1 == 2 && b'a' + b'b' == b'ab' && timestamp('2020-01-01T00:00:00Z') + duration('1h') == timestamp('2020-01-01T01:00:00Z')",
	} {
		if problem := validate(t, rule); problem != "" {
			t.Errorf("%s: %s", rule, problem)
		}
	}
}
