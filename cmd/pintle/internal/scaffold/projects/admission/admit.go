package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pintle-dev/pintle/sdk/admission"
)

// Mutate implements admission.Mutator: it may change the object before it is checked. It must do
// nothing else, as a write may still be refused, or be a dry run (r.DryRun).
func (p *Plugin) Mutate(_ context.Context, r *admission.Request) (changed bool, err error) {
	if p.settings.Default == "" || p.labelOf(r.Object) != "" {
		return false, nil
	}
	return true, unstructured.SetNestedField(r.Object, p.settings.Default, "metadata", "labels", p.settings.Label)
}

// Validate implements admission.Validator: it sees the object as it will be stored. An error
// refuses the write and is what its author reads.
func (p *Plugin) Validate(_ context.Context, r *admission.Request) error {
	if p.labelOf(r.Object) == "" {
		return fmt.Errorf("metadata.labels: the label %q is required", p.settings.Label)
	}
	return nil
}

func (p *Plugin) labelOf(object map[string]any) string {
	value, _, _ := unstructured.NestedString(object, "metadata", "labels", p.settings.Label)
	return value
}
