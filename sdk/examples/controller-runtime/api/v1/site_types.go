package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Conditions of a Site.
const (
	// ConditionAvailable says whether as many replicas serve the site as it asks for.
	ConditionAvailable = "Available"
	// ConditionThemed says whether the site's theme was found.
	ConditionThemed = "Themed"
)

// SiteSpec is what a site is.
type SiteSpec struct {
	// Host is the name under which the site is served, unique in the cluster. The site's name
	// below .sites.example.dev where it is not given.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Host string `json:"host,omitempty"`

	// Pages are the site's pages, by file name.
	// +kubebuilder:validation:MinProperties=1
	Pages map[string]string `json:"pages"`

	// Theme is the name of a Theme in the same namespace.
	// +optional
	Theme string `json:"theme,omitempty"`

	// Replicas that serve the site. 2 where it is not given.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// Protected sites can not be deleted.
	// +optional
	Protected bool `json:"protected,omitempty"`
}

// SiteStatus is what was seen of a site.
type SiteStatus struct {
	// ObservedGeneration is the generation of the spec that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Digest of the pages and the theme that are served.
	// +optional
	Digest string `json:"digest,omitempty"`

	// ReadyReplicas serve the site.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`

	// Conditions of the site.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Site is a web site made of a few pages.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.host`
// +kubebuilder:printcolumn:name="Theme",type=string,JSONPath=`.spec.theme`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Site struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SiteSpec   `json:"spec"`
	Status SiteStatus `json:"status,omitempty"`
}

// SiteList is a list of sites.
// +kubebuilder:object:root=true
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Site `json:"items"`
}
