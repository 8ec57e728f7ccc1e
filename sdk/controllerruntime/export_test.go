package controllerruntime

import "github.com/pintle-dev/pintle/sdk/admission"

// Admission is what the plugin offers as admission.
func (p *Plugin) Admission() interface {
	admission.Admission
	admission.Mutator
	admission.Validator
} {
	return admitter{p}
}
