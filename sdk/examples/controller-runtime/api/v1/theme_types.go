package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ThemeSpec is what a theme is.
type ThemeSpec struct {
	// Style is the style sheet.
	// +kubebuilder:validation:MinLength=1
	Style string `json:"style"`
}

// ThemeStatus is what was seen of a theme.
type ThemeStatus struct {
	// Sites that use the theme.
	// +optional
	Sites int32 `json:"sites,omitempty"`
}

// Theme is how sites look.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Sites",type=integer,JSONPath=`.status.sites`
type Theme struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ThemeSpec   `json:"spec"`
	Status ThemeStatus `json:"status,omitempty"`
}

// ThemeList is a list of themes.
// +kubebuilder:object:root=true
type ThemeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Theme `json:"items"`
}
