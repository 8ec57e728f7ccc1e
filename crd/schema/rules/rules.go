package rules

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	celenv "github.com/pintle-dev/pintle/crd/cel"
	"github.com/pintle-dev/pintle/crd/schema"
)

var _ schema.RuleCompiler = Compile

// Compile compiles the rules of a schema without references. It returns nil where the
// schema has none. A rule that does not compile is reported by Validate, for each object.
func Compile(s *schema.Schema) (schema.Rules, error) {
	st, err := Structural(s)
	if err != nil {
		return nil, err
	}
	if _, err := celenv.Base(); err != nil {
		return nil, fmt.Errorf("compile rules: %w", err)
	}
	v := cel.NewValidator(st, true, celconfig.PerCallLimit)
	if v == nil {
		return nil, nil
	}
	return &compiled{structural: st, validator: v}, nil
}

// Structural returns a schema without references in the form of upstream's libraries. An
// error says where the schema is not structural.
func Structural(s *schema.Schema) (*structural.Structural, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	var props apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(text, &props); err != nil {
		return nil, fmt.Errorf("decode schema: %w", err)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&props, &internal, nil); err != nil {
		return nil, fmt.Errorf("convert schema: %w", err)
	}
	st, err := structural.NewStructural(&internal)
	if err != nil {
		return nil, fmt.Errorf("schema is not structural: %w", err)
	}
	return st, nil
}

type compiled struct {
	structural *structural.Structural
	validator  *cel.Validator
}

// Validate evaluates the rules within upstream's budget for one object.
func (c *compiled) Validate(ctx context.Context, obj, old map[string]any) field.ErrorList {
	if old == nil {
		errs, _ := c.validator.Validate(ctx, nil, c.structural, obj, nil, celconfig.RuntimeCELCostBudget)
		return errs
	}
	correlated := common.NewCorrelatedObject(obj, old, &model.Structural{Structural: c.structural})
	errs, _ := c.validator.Validate(ctx, nil, c.structural, obj, old, celconfig.RuntimeCELCostBudget, cel.WithRatcheting(correlated))
	return errs
}
