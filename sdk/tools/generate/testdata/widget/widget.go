// Package widget is what the test generates from.
// +groupName=example.dev
// +versionName=v1
package widget

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Widget is a thing with a size.
// +kubebuilder:object:root=true
// +kubebuilder:object:generate=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wd
// +kubebuilder:printcolumn:name=Size,type=integer,JSONPath=`.spec.size`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() < 20",message="name is too long"
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec WidgetSpec `json:"spec"`
}

// WidgetSpec is what is wanted.
type WidgetSpec struct {
	// Size in teeth.
	// +kubebuilder:validation:Minimum=1
	Size int32 `json:"size"`
	// +kubebuilder:validation:Enum=red;green;blue
	// +kubebuilder:default=red
	Colour string `json:"colour,omitempty"`
}

// Settings of the plugin.
// +pintle:settings
type Settings struct {
	// Greeting is the first word.
	// +kubebuilder:default=Hello
	// +kubebuilder:validation:MinLength=1
	Greeting string `json:"greeting,omitempty"`
	// Ratio of things.
	Ratio float64 `json:"ratio,omitempty"`
}
