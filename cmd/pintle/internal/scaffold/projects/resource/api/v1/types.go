// Package v1 is version v1 of the API group example.dev.
// +groupName=example.dev
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the types of this package.
var GroupVersion = schema.GroupVersion{Group: "example.dev", Version: "v1"}

// Gizmos is the resource type of Gizmo objects.
var Gizmos = GroupVersion.WithResource("gizmos")

// Gizmo is a thing with a size.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=gizmos
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Size,type=integer,JSONPath=`.spec.size`
// +kubebuilder:printcolumn:name=Colour,type=string,JSONPath=`.spec.colour`
// +kubebuilder:printcolumn:name=Phase,type=string,JSONPath=`.status.phase`
type Gizmo struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   GizmoSpec   `json:"spec"`
	Status GizmoStatus `json:"status,omitempty"`
}

// GizmoSpec is what is wanted.
type GizmoSpec struct {
	// Size in teeth. It may grow, not shrink.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Size int32 `json:"size"`
	// Colour of the paint.
	// +kubebuilder:validation:Enum=red;green;blue
	// +kubebuilder:default=red
	Colour string `json:"colour,omitempty"`
}

// GizmoStatus is what there is.
type GizmoStatus struct {
	// Phase is Ready when the ConfigMap is there.
	Phase string `json:"phase,omitempty"`
	// ConfigMap that was made for the Gizmo.
	ConfigMap string `json:"configMap,omitempty"`
	// ObservedGeneration of the spec that the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}
