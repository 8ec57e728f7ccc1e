package crdv1

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
)

// Taken are the definitions whose names may not be used again. Those of other groups, and
// the one that is being decided about, are passed over.
type Taken []*crd.Definition

// UpdateStatus computes the status of a CustomResourceDefinition in place and reports
// whether it changed: accepted names, and the conditions NamesAccepted, Established,
// NonStructuralSchema and KubernetesAPIApprovalPolicyConformant. A definition is
// established once its names are accepted, and stays so.
//
// Whoever stores the new status must serve the type before others see Established.
func UpdateStatus(c *apiextensionsv1.CustomResourceDefinition, taken Taken, now metav1.Time) bool {
	before := c.Status.DeepCopy()
	set := func(cond *apiextensionsv1.CustomResourceDefinitionCondition) { setCondition(c, *cond, now) }

	set(acceptNames(c, taken))
	established := apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Established)
	switch accepted := apihelpers.IsCRDConditionTrue(c, apiextensionsv1.NamesAccepted); {
	case established:
	case accepted:
		set(&apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue,
			Reason: "InitialNamesAccepted", Message: "the initial names have been accepted",
		})
	default:
		set(&apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse,
			Reason: "NotAccepted", Message: "not all names are accepted",
		})
	}
	if cond := nonStructural(c); cond != nil {
		set(cond)
	} else {
		c.Status.Conditions = slices.DeleteFunc(c.Status.Conditions, func(have apiextensionsv1.CustomResourceDefinitionCondition) bool {
			return have.Type == apiextensionsv1.NonStructuralSchema
		})
	}
	if cond := approval(c); cond != nil {
		set(cond)
	}
	return !equality.Semantic.DeepEqual(before, &c.Status)
}

// acceptNames accepts each name of the spec that is ours already or free, and returns the
// condition NamesAccepted.
func acceptNames(c *apiextensionsv1.CustomResourceDefinition, taken Taken) *apiextensionsv1.CustomResourceDefinitionCondition {
	resources, kinds := map[string]bool{}, map[string]bool{}
	for _, d := range taken {
		if d.Group != c.Spec.Group || d.Names.Plural == c.Spec.Names.Plural {
			continue
		}
		for _, name := range append([]string{d.Names.Plural, d.Names.Singular}, d.Names.ShortNames...) {
			resources[name] = true
		}
		kinds[d.Names.Kind], kinds[d.Names.ListKind] = true, true
	}
	cond := &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue,
		Reason: "NoConflicts", Message: "no conflicts found",
	}
	want, have := &c.Spec.Names, &c.Status.AcceptedNames
	free := func(name, ours string, used map[string]bool) error {
		if name == ours || !used[name] {
			return nil
		}
		return fmt.Errorf("%q is already in use", name)
	}
	accept := func(err error, reason string, take func()) {
		if err == nil {
			take()
			return
		}
		cond.Status, cond.Reason, cond.Message = apiextensionsv1.ConditionFalse, reason, err.Error()
	}
	accept(free(want.Plural, have.Plural, resources), "PluralConflict", func() { have.Plural = want.Plural })
	accept(free(want.Singular, have.Singular, resources), "SingularConflict", func() { have.Singular = want.Singular })
	var errs []error
	for _, s := range want.ShortNames {
		if !slices.Contains(have.ShortNames, s) {
			errs = append(errs, free(s, "", resources))
		}
	}
	var short error
	if errors.Join(errs...) != nil {
		short = utilerrors.NewAggregate(errs)
	}
	accept(short, "ShortNamesConflict", func() { have.ShortNames = want.ShortNames })
	accept(free(want.Kind, have.Kind, kinds), "KindConflict", func() { have.Kind = want.Kind })
	accept(free(want.ListKind, have.ListKind, kinds), "ListKindConflict", func() { have.ListKind = want.ListKind })
	have.Categories = want.Categories
	return cond
}

// nonStructural returns the condition NonStructuralSchema where a schema is not
// structural, which can only be so for definitions stored long ago.
func nonStructural(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	var errs field.ErrorList
	if c.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false"))
	}
	for i, v := range c.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		path := field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema")
		_, structuralErrs, err := structuralOf(v.Schema.OpenAPIV3Schema, path)
		if err != nil {
			return &apiextensionsv1.CustomResourceDefinitionCondition{
				Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionUnknown,
				Reason:  "StructuralError",
				Message: fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err),
			}
		}
		errs = append(errs, structuralErrs...)
	}
	if len(errs) == 0 {
		return nil
	}
	return &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionTrue,
		Reason: "Violations", Message: errs.ToAggregate().Error(),
	}
}

// approval returns the condition for groups that belong to the Kubernetes community.
func approval(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !apihelpers.IsProtectedCommunityGroup(c.Spec.Group) {
		return nil
	}
	cond := &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse,
	}
	state, message := apihelpers.GetAPIApprovalState(c.Annotations)
	cond.Message = message
	switch state {
	case apihelpers.APIApproved:
		cond.Status, cond.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		cond.Reason = "UnapprovedAnnotation"
	case apihelpers.APIApprovalInvalid:
		cond.Reason = "InvalidAnnotation"
	default:
		cond.Reason = "MissingAnnotation"
	}
	return cond
}

// setCondition sets a condition; its time moves only with its status.
func setCondition(c *apiextensionsv1.CustomResourceDefinition, cond apiextensionsv1.CustomResourceDefinitionCondition, now metav1.Time) {
	cond.LastTransitionTime = now
	have := apihelpers.FindCRDCondition(c, cond.Type)
	if have == nil {
		c.Status.Conditions = append(c.Status.Conditions, cond)
		return
	}
	if have.Status == cond.Status && !have.LastTransitionTime.IsZero() {
		cond.LastTransitionTime = have.LastTransitionTime
	}
	*have = cond
}
