package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
)

// checker checks the expressions of one policy.
type checker struct {
	// params says that the policy has parameters, compose that its expressions may use
	// variables.
	params, compose bool
	// stored are the expressions of the policy as it is, which may use all that they
	// could when they were written.
	stored sets.Set[string]

	composer *cel.Compiler
}

func (c *checker) known(expressions ...string) {
	if c.stored == nil {
		c.stored = sets.New[string]()
	}
	c.stored.Insert(expressions...)
}

// accepted notes match conditions and variables that have been accepted before.
func (c *checker) accepted(conditions []admissionregistrationv1.MatchCondition, variables []admissionregistrationv1.Variable) {
	for _, m := range conditions {
		c.known(m.Expression)
	}
	for _, v := range variables {
		c.known(v.Expression)
	}
}

func (c *checker) mode(expression string) cel.Mode {
	if c.stored.Has(expression) {
		return cel.StoredExpressions
	}
	return cel.NewExpressions
}

func (c *checker) compiler() (*cel.Compiler, error) {
	if !c.compose {
		return cel.Plain(), nil
	}
	if c.composer == nil {
		var err error
		if c.composer, err = cel.NewComposer(); err != nil {
			return nil, err
		}
	}
	return c.composer, nil
}

func (c *checker) declared() cel.Declared {
	return cel.Declared{HasParams: c.params, HasAuthorizer: true}
}

// compiles reports why an expression does not compile. source is the expression as it
// stands in the object.
func (c *checker) compiles(path *field.Path, source string, e cel.Expression, declared cel.Declared) field.ErrorList {
	compiler, err := c.compiler()
	if err != nil {
		return field.ErrorList{field.InternalError(path, err)}
	}
	return celErrors(path, e.GetExpression(), compiler.Compile(e, declared, c.mode(source)))
}

func celErrors(path *field.Path, value string, result cel.Result) field.ErrorList {
	switch e := result.Error; {
	case e == nil:
		return nil
	case e.Type == apiservercel.ErrorTypeRequired:
		return field.ErrorList{field.Required(path, e.Detail)}
	case e.Type == apiservercel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(path, value, e.Detail)}
	default:
		return field.ErrorList{field.InternalError(path, e)}
	}
}

func (c *checker) conditions(conditions []admissionregistrationv1.MatchCondition, path *field.Path) field.ErrorList {
	return match.CheckConditions(conditions, path, func(text string, at *field.Path) field.ErrorList {
		return celErrors(at, text, cel.Plain().Compile(validation(text), c.declared(), c.mode(text)))
	})
}

var (
	identifier = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")
	reserved   = sets.New("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
		"import", "let", "loop", "package", "namespace", "return", "var", "void", "while")
)

func (c *checker) variables(variables []admissionregistrationv1.Variable, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range variables {
		at := path.Index(i)
		switch {
		case strings.TrimSpace(v.Name) == "":
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		case !identifier.MatchString(v.Name) || reserved.Has(v.Name):
			errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
			continue
		}
		compiler, err := c.compiler()
		if err != nil {
			return append(errs, field.InternalError(at, err))
		}
		errs = append(errs, celErrors(at.Child("expression"), v.Expression,
			compiler.Variable(v.Name, v.Expression, c.declared(), c.mode(v.Expression)))...)
	}
	return errs
}

var reasons = []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge}

func (c *checker) validation(v *admissionregistrationv1.Validation, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	} else {
		errs = append(errs, c.compiles(path.Child("expression"), v.Expression, validation(v.Expression), c.declared())...)
	}
	switch {
	case v.MessageExpression == "":
	case strings.TrimSpace(v.MessageExpression) == "":
		errs = append(errs, field.Invalid(path.Child("messageExpression"), v.MessageExpression, "must be non-empty if specified"))
	default:
		errs = append(errs, c.compiles(path.Child("messageExpression"), v.MessageExpression, message(v.MessageExpression), cel.Declared{HasParams: c.params})...)
	}
	text := strings.TrimSpace(v.Message)
	switch {
	case v.Message != "" && text == "":
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "must be non-empty if specified"))
	case strings.ContainsAny(text, "\n\r"):
		errs = append(errs, field.Invalid(path.Child("message"), v.Message, "must not contain line breaks"))
	}
	if v.Reason != nil && !slices.Contains(reasons, *v.Reason) {
		errs = append(errs, field.NotSupported(path.Child("reason"), *v.Reason, reasons))
	}
	return errs
}

const (
	maxAnnotations     = 20
	maxValueExpression = 5 * 1024
)

func (c *checker) auditAnnotations(policy string, annotations []admissionregistrationv1.AuditAnnotation, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(annotations) > maxAnnotations {
		errs = append(errs, field.Invalid(path, annotations, fmt.Sprintf("must not have more than %d auditAnnotations", maxAnnotations)))
	}
	keys := sets.New[string]()
	for i, a := range annotations {
		at := path.Index(i)
		if policy == "" {
			errs = append(errs, field.Invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			errs = append(errs, match.CheckQualifiedName(policy+"/"+a.Key, at.Child("key"))...)
		}
		switch text := strings.TrimSpace(a.ValueExpression); {
		case text == "":
			errs = append(errs, field.Required(at.Child("valueExpression"), "valueExpression is not specified"))
		case len(text) > maxValueExpression:
			errs = append(errs, field.Required(at.Child("valueExpression"), fmt.Sprintf("must not exceed %d bytes in length", maxValueExpression)))
		default:
			errs = append(errs, c.compiles(at.Child("valueExpression"), a.ValueExpression, auditValue(text), c.declared())...)
		}
		if keys.Has(a.Key) {
			errs = append(errs, field.Duplicate(at.Child("key"), a.Key))
		}
		keys.Insert(a.Key)
	}
	return errs
}

func (c *checker) mutation(m *admissionregistrationv1.Mutation, path *field.Path) field.ErrorList {
	declared := c.declared()
	declared.HasPatchTypes = true
	expression := func(text string, path *field.Path, expr func(string) cel.Expression) field.ErrorList {
		trimmed := strings.TrimSpace(text)
		if trimmed == "" {
			return field.ErrorList{field.Required(path, "")}
		}
		return c.compiles(path, text, expr(trimmed), declared)
	}
	var errs field.ErrorList
	apply, patch := path.Child("applyConfiguration"), path.Child("jsonPatch")
	switch m.PatchType {
	case "":
		errs = append(errs, field.Required(path.Child("patchType"), ""))
	case admissionregistrationv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(patch, "must be specified when patchType is JSONPatch"))
		} else {
			errs = append(errs, expression(m.JSONPatch.Expression, patch.Child("expression"), jsonPatch)...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	case admissionregistrationv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			errs = append(errs, expression(m.ApplyConfiguration.Expression, apply.Child("expression"), applyConfiguration)...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(patch, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	default:
		errs = append(errs, match.CheckOneOf(path.Child("patchType"), m.PatchType,
			admissionregistrationv1.PatchTypeApplyConfiguration, admissionregistrationv1.PatchTypeJSONPatch)...)
	}
	return errs
}
