package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/google/cel-go/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	admissioncel "github.com/pintle-dev/pintle/core/admission/cel"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Check validates configurations when they are written, with upstream's paths and messages.
// It is for objects with their defaults, and has nothing to say about other kinds.
//
// What an object has had already is not held against it where upstream does not, so that
// objects from before a rule can still be changed.
func Check(_ context.Context, r *resource.Request) field.ErrorList {
	if r.Subresource != "" || r.Object == nil || r.Resource.Group != admissionregistrationv1.GroupName {
		return nil
	}
	var read func(tree map[string]any) ([]webhook, error)
	switch r.Resource.Resource {
	case "validatingwebhookconfigurations":
		read = webhooksOf[admissionregistrationv1.ValidatingWebhook]
	case "mutatingwebhookconfigurations":
		read = webhooksOf[admissionregistrationv1.MutatingWebhook]
	default:
		return nil
	}
	now, err := read(r.Object)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("webhooks"), err)}
	}
	rules := ruleset{noSideEffects: true, knownVersions: true, uniqueNames: true, conditions: true}
	if r.Old != nil {
		old, err := read(r.Old)
		if err != nil {
			return field.ErrorList{field.InternalError(field.NewPath("webhooks"), err)}
		}
		rules = rulesAfter(old, now)
	}
	return rules.check(now)
}

// webhook has the fields of both kinds.
type webhook struct {
	admissionregistrationv1.ValidatingWebhook
	reinvocation *admissionregistrationv1.ReinvocationPolicyType
}

func webhooksOf[T admissionregistrationv1.ValidatingWebhook | admissionregistrationv1.MutatingWebhook](tree map[string]any) ([]webhook, error) {
	data, err := json.Marshal(tree["webhooks"])
	if err != nil {
		return nil, fmt.Errorf("encode webhooks: %w", err)
	}
	var list []T
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("decode webhooks: %w", err)
	}
	out := make([]webhook, len(list))
	for i := range list {
		switch w := any(&list[i]).(type) {
		case *admissionregistrationv1.ValidatingWebhook:
			out[i] = webhook{ValidatingWebhook: *w}
		case *admissionregistrationv1.MutatingWebhook:
			out[i] = webhook{*common(w), w.ReinvocationPolicy}
		}
	}
	return out, nil
}

// ruleset is what webhooks are held to, beside what always holds.
type ruleset struct {
	noSideEffects, knownVersions, uniqueNames bool
	// conditions are checked; those that are known may use all of the language that they
	// could when they were written.
	conditions bool
	known      sets.Set[string]
	// anyLabel lets selectors have values that no label can have.
	anyLabel bool
}

// reviewVersions are the versions of AdmissionReview that are spoken.
var reviewVersions = []string{"v1", "v1beta1"}

// rulesAfter are the rules for a change of webhooks.
func rulesAfter(old, now []webhook) ruleset {
	rules := ruleset{noSideEffects: true, knownVersions: true, uniqueNames: true, conditions: len(old) != len(now), known: sets.New[string]()}
	names := sets.New[string]()
	for i := range old {
		w := &old[i]
		rules.noSideEffects = rules.noSideEffects && w.SideEffects != nil && harmless(*w.SideEffects)
		rules.knownVersions = rules.knownVersions && (len(w.AdmissionReviewVersions) == 0 || sets.New(reviewVersions...).HasAny(w.AdmissionReviewVersions...))
		rules.uniqueNames = rules.uniqueNames && !names.Has(w.Name)
		names.Insert(w.Name)
		for _, m := range w.MatchConditions {
			rules.known.Insert(m.Expression)
		}
		for _, s := range [...]*metav1.LabelSelector{w.NamespaceSelector, w.ObjectSelector} {
			if s != nil && len(metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, nil)) > 0 {
				rules.anyLabel = true
			}
		}
		rules.conditions = rules.conditions || !reflect.DeepEqual(w.MatchConditions, now[i].MatchConditions)
	}
	return rules
}

func harmless(s admissionregistrationv1.SideEffectClass) bool {
	return s == admissionregistrationv1.SideEffectClassNone || s == admissionregistrationv1.SideEffectClassNoneOnDryRun
}

func (rules *ruleset) check(list []webhook) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range list {
		path := field.NewPath("webhooks").Index(i)
		errs = append(errs, rules.webhook(&list[i], path)...)
		errs = append(errs, rules.versions(list[i].AdmissionReviewVersions, path.Child("admissionReviewVersions"))...)
		if name := list[i].Name; rules.uniqueNames && name != "" {
			if names.Has(name) {
				errs = append(errs, field.Duplicate(path.Child("name"), name))
			}
			names.Insert(name)
		}
	}
	return errs
}

func (rules *ruleset) webhook(w *webhook, path *field.Path) field.ErrorList {
	errs := utilvalidation.IsFullyQualifiedName(path.Child("name"), w.Name)
	for i := range w.Rules {
		errs = append(errs, match.CheckRule(&w.Rules[i], path.Child("rules").Index(i))...)
	}
	if w.FailurePolicy != nil {
		errs = append(errs, match.CheckOneOf(path.Child("failurePolicy"), *w.FailurePolicy, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)...)
	}
	if w.MatchPolicy != nil {
		errs = append(errs, match.CheckOneOf(path.Child("matchPolicy"), *w.MatchPolicy, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)...)
	}
	classes := []admissionregistrationv1.SideEffectClass{admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun}
	if !rules.noSideEffects {
		classes = append(classes, admissionregistrationv1.SideEffectClassSome, admissionregistrationv1.SideEffectClassUnknown)
	}
	if at := path.Child("sideEffects"); w.SideEffects == nil {
		text := make([]string, len(classes))
		for i, c := range classes {
			text[i] = string(c)
		}
		errs = append(errs, field.Required(at, "must specify one of "+strings.Join(text, ", ")))
	} else {
		errs = append(errs, match.CheckOneOf(at, *w.SideEffects, classes...)...)
	}
	if t := w.TimeoutSeconds; t != nil && (*t > 30 || *t < 1) {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	labels := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: rules.anyLabel}
	if w.NamespaceSelector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(w.NamespaceSelector, labels, path.Child("namespaceSelector"))...)
	}
	if w.ObjectSelector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(w.ObjectSelector, labels, path.Child("objectSelector"))...)
	}
	if w.reinvocation != nil {
		errs = append(errs, match.CheckOneOf(path.Child("reinvocationPolicy"), *w.reinvocation,
			admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)...)
	}
	errs = append(errs, checkClient(&w.ClientConfig, path.Child("clientConfig"))...)
	if rules.conditions {
		errs = append(errs, match.CheckConditions(w.MatchConditions, path.Child("matchConditions"), rules.expression)...)
	}
	return errs
}

func (rules *ruleset) versions(versions []string, path *field.Path) field.ErrorList {
	all := strings.Join(reviewVersions, ", ")
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "must specify one of "+all)}
	}
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, v := range versions {
		if seen.Has(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		seen.Insert(v)
		for _, message := range utilvalidation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, message))
		}
	}
	if rules.knownVersions && !seen.HasAny(reviewVersions...) {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of "+all))
	}
	return errs
}

// condition is an expression that must be true or false.
type condition string

// GetExpression implements cel's Expression.
func (c condition) GetExpression() string { return string(c) }

// ReturnTypes implements cel's Expression.
func (condition) ReturnTypes() []*cel.Type { return []*cel.Type{cel.BoolType} }

func (rules *ruleset) expression(text string, path *field.Path) field.ErrorList {
	mode := admissioncel.NewExpressions
	if rules.known.Has(text) {
		mode = admissioncel.StoredExpressions
	}
	switch e := admissioncel.Plain().Compile(condition(text), admissioncel.Declared{HasAuthorizer: true}, mode).Error; {
	case e == nil:
		return nil
	case e.Type == apiservercel.ErrorTypeRequired:
		return field.ErrorList{field.Required(path, e.Detail)}
	case e.Type == apiservercel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(path, text, e.Detail)}
	default:
		return field.ErrorList{field.InternalError(path, e)}
	}
}
