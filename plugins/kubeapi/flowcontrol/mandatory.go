package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The objects that are always there, with one content.
const (
	exempt   = "exempt"
	catchAll = "catch-all"
)

// mandatorySchema returns what the spec of a schema must be, or nil where that is free.
func mandatorySchema(name string) *flowcontrolv1.FlowSchemaSpec {
	groups := map[string][]string{
		exempt:   {"system:masters"},
		catchAll: {"system:unauthenticated", "system:authenticated"},
	}[name]
	if groups == nil {
		return nil
	}
	all := []string{"*"}
	rule := flowcontrolv1.PolicyRulesWithSubjects{
		ResourceRules:    []flowcontrolv1.ResourcePolicyRule{{Verbs: all, APIGroups: all, Resources: all, Namespaces: all, ClusterScope: true}},
		NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: all, NonResourceURLs: all}},
	}
	for _, g := range groups {
		rule.Subjects = append(rule.Subjects, flowcontrolv1.Subject{
			Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: g},
		})
	}
	spec := &flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: name},
		MatchingPrecedence:         1,
		Rules:                      []flowcontrolv1.PolicyRulesWithSubjects{rule},
	}
	if name == catchAll {
		spec.MatchingPrecedence = maxPrecedence
		spec.DistinguisherMethod = &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType}
	}
	return spec
}

// mandatoryLevel checks the levels that are always there: one may only be tuned, the other
// has a fixed content.
func mandatoryLevel(name string, spec *flowcontrolv1.PriorityLevelConfigurationSpec) field.ErrorList {
	path := field.NewPath("spec")
	switch name {
	case exempt:
		if spec.Type != flowcontrolv1.PriorityLevelEnablementExempt || spec.Limited != nil {
			return field.ErrorList{field.Invalid(path, spec, "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value")}
		}
	case catchAll:
		shares, lendable := int32(5), int32(0)
		fixed := flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &shares, LendablePercent: &lendable,
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		}
		if !equality.Semantic.DeepEqual(*spec, fixed) {
			return field.ErrorList{field.Invalid(path, spec, "spec of 'catch-all' must equal the fixed value")}
		}
	}
	return nil
}
