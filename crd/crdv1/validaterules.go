package crdv1

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	celenv "github.com/pintle-dev/pintle/crd/cel"
)

// Limits of the estimated cost of rules: of one, and of all in a schema.
const (
	ruleCostLimit   = 10_000_000
	schemaCostLimit = 100_000_000
)

var ruleReasons = []string{
	string(apiextensionsv1.FieldValueDuplicate), string(apiextensionsv1.FieldValueForbidden),
	string(apiextensionsv1.FieldValueInvalid), string(apiextensionsv1.FieldValueRequired),
}

// rules checks the form of x-kubernetes-validations; whether they compile is checked
// apart, once the whole schema is sound.
func (w *schemaWalker) rules(s *props, path *field.Path) {
	for i, r := range s.XValidations {
		at := path.Child("x-kubernetes-validations").Index(i)
		rule, message := strings.TrimSpace(r.Rule), strings.TrimSpace(r.Message)
		switch {
		case rule == "":
			w.errs = append(w.errs, field.Required(at.Child("rule"), "rule is not specified"))
		case r.Message != "" && message == "":
			w.invalid(at.Child("message"), r.Message, "must be non-empty if specified")
		case strings.ContainsAny(message, "\n\r"):
			w.invalid(at.Child("message"), r.Message, "must not contain line breaks")
		case strings.ContainsAny(rule, "\n\r") && message == "":
			w.errs = append(w.errs, field.Required(at.Child("message"), "message must be specified if rule contains line breaks"))
		}
		if r.MessageExpression != "" && strings.TrimSpace(r.MessageExpression) == "" {
			w.errs = append(w.errs, field.Required(at.Child("messageExpression"), "messageExpression must be non-empty if specified"))
		}
		if r.Reason != nil && !slices.Contains(ruleReasons, string(*r.Reason)) {
			w.errs = append(w.errs, field.NotSupported(at.Child("reason"), string(*r.Reason), ruleReasons))
		}
		if r.FieldPath == "" {
			continue
		}
		if strings.TrimSpace(r.FieldPath) == "" {
			w.invalid(at.Child("fieldPath"), r.FieldPath, "must be non-empty if specified")
		}
		if strings.ContainsAny(r.FieldPath, "\n\r") {
			w.invalid(at.Child("fieldPath"), r.FieldPath, "must not contain line breaks")
		}
		if !fieldPathValid(s, r.FieldPath) {
			w.invalid(at.Child("fieldPath"), r.FieldPath, "must be a valid path")
		}
	}
}

// ruleChecker compiles the rules of one schema and adds up what they may cost.
type ruleChecker struct {
	errs   field.ErrorList
	total  uint64
	costly []ruleCost
}

type ruleCost struct {
	path *field.Path
	cost uint64
}

func newRuleChecker() *ruleChecker { return &ruleChecker{} }

func (c *ruleChecker) check(st *structural.Structural, path *field.Path) field.ErrorList {
	one := uint64(1)
	c.walk(st, nil, path, &one, true, nil)
	if c.total > schemaCostLimit {
		slices.SortStableFunc(c.costly, func(a, b ruleCost) int { return cmp.Compare(b.cost, a.cost) })
		for _, r := range c.costly[:min(4, len(c.costly))] {
			c.errs = append(c.errs, field.Forbidden(r.path, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"))
		}
		c.errs = append(c.errs, field.Forbidden(path, overBudget("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", c.total, schemaCostLimit)))
	}
	return c.errs
}

// walk compiles the rules at and below a schema. count is how many values of it there can
// be, nil where there is no bound. decl is the schema's CEL type where a schema above has
// made it; fixed is the nearest list or map around it whose elements can't be told apart
// between an old and a new object.
func (c *ruleChecker) walk(st *structural.Structural, decl *apiservercel.DeclType, path *field.Path, count *uint64, isRoot bool, fixed *field.Path) {
	if st == nil {
		return
	}
	if len(st.XValidations) > 0 {
		if decl == nil {
			decl = model.SchemaDeclType(st, isRoot || st.XEmbeddedResource)
		}
		c.compile(st, decl, path, count, fixed)
	}
	below := times(count, elements(st))
	if st.AdditionalProperties != nil && st.AdditionalProperties.Structural != nil {
		c.walk(st.AdditionalProperties.Structural, elemType(decl), path.Child("additionalProperties"), below, false, fixed)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Properties)) {
		p := st.Properties[name]
		inner := fixed
		if inner == nil && !cel.MapIsCorrelatable(st.XMapType) {
			inner = path
		}
		c.walk(&p, fieldType(decl, name), path.Child("properties").Key(name), below, false, inner)
	}
	if st.Items != nil {
		inner := fixed
		if inner == nil && (st.XListType == nil || *st.XListType != "map") {
			inner = path
		}
		c.walk(st.Items, elemType(decl), path.Child("items"), below, false, inner)
	}
}

func elemType(decl *apiservercel.DeclType) *apiservercel.DeclType {
	if decl == nil {
		return nil
	}
	return decl.ElemType
}

func fieldType(decl *apiservercel.DeclType, name string) *apiservercel.DeclType {
	if decl == nil {
		return nil
	}
	if escaped, ok := apiservercel.Escape(name); ok {
		if f, ok := decl.Fields[escaped]; ok {
			return f.Type
		}
	}
	return nil
}

// elements is how many values of the schemas below there can be in one value of st.
func elements(st *structural.Structural) *uint64 {
	one := uint64(1)
	var limit *int64
	switch {
	case st.Type == "object" && st.AdditionalProperties != nil:
		if st.ValueValidation != nil {
			limit = st.ValueValidation.MaxProperties
		}
	case st.Type == "array":
		if st.ValueValidation != nil {
			limit = st.ValueValidation.MaxItems
		}
	default:
		return &one
	}
	if limit == nil {
		return nil
	}
	n := uint64(max(*limit, 0))
	return &n
}

func times(a, b *uint64) *uint64 {
	if a == nil || b == nil {
		return nil
	}
	n := multiply(*a, *b)
	return &n
}

func multiply(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return 0
	}
	if math.MaxUint64/a < b {
		return math.MaxUint64
	}
	return a * b
}

func (c *ruleChecker) compile(st *structural.Structural, decl *apiservercel.DeclType, path *field.Path, count *uint64, fixed *field.Path) {
	at := path.Child("x-kubernetes-validations")
	base, err := celenv.Base()
	if err != nil {
		c.errs = append(c.errs, field.InternalError(at, err))
		return
	}
	results, err := cel.Compile(st, decl, celconfig.PerCallLimit, base, cel.NewExpressionsEnvLoader())
	if err != nil {
		c.errs = append(c.errs, field.InternalError(at, err))
		return
	}
	for i, r := range results {
		rule, at := st.XValidations[i], at.Index(i)
		bound := r.MaxCardinality
		if count != nil {
			bound = *count
		}
		c.observe(at.Child("rule"), "estimated rule cost", multiply(r.MaxCost, bound))
		if r.Error != nil {
			if r.Error.Type == apiservercel.ErrorTypeRequired {
				c.errs = append(c.errs, field.Required(at.Child("rule"), r.Error.Detail))
			} else {
				c.errs = append(c.errs, field.Invalid(at.Child("rule"), shownRule(rule), r.Error.Detail))
			}
		}
		if r.MessageExpressionError != nil {
			c.errs = append(c.errs, field.Invalid(at.Child("messageExpression"), shownRule(rule), r.MessageExpressionError.Detail))
		} else if r.MessageExpression != nil {
			c.observe(at.Child("messageExpression"), "estimated messageExpression cost", r.MessageExpressionMaxCost)
		}
		switch {
		case r.UsesOldSelf && fixed != nil:
			c.errs = append(c.errs, field.Invalid(at.Child("rule"), rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", fixed)))
		case !r.UsesOldSelf && rule.OptionalOldSelf != nil:
			c.errs = append(c.errs, field.Invalid(at.Child("optionalOldSelf"), *rule.OptionalOldSelf, "may not be set if oldSelf is not used in rule"))
		}
	}
}

func (c *ruleChecker) observe(path *field.Path, name string, cost uint64) {
	if cost > ruleCostLimit {
		c.errs = append(c.errs, field.Forbidden(path, overBudget(name, cost, ruleCostLimit)))
	}
	if math.MaxUint64-c.total < cost {
		c.total = math.MaxUint64
	} else {
		c.total += cost
	}
	if cost >= schemaCostLimit/100 {
		c.costly = append(c.costly, ruleCost{path, cost})
	}
}

func overBudget(name string, cost, limit uint64) string {
	factor := float64(cost) / float64(limit)
	text := fmt.Sprintf("%.1fx", factor)
	switch {
	case factor > 100:
		text = "more than 100x"
	case factor < 1.5:
		text = fmt.Sprintf("%fx", factor)
	}
	return fmt.Sprintf("%s exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", name, text)
}
