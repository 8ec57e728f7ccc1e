package crdv1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/crd"
)

// FromCRD returns the definition that a valid CustomResourceDefinition makes.
func FromCRD(c *apiextensionsv1.CustomResourceDefinition) (*crd.Definition, error) { return nil, nil }

// SetDefaults sets the defaults of a CustomResourceDefinition.
func SetDefaults(c *apiextensionsv1.CustomResourceDefinition) {}

// Validate checks a CustomResourceDefinition; old is nil on create. Paths and reasons are
// upstream's.
func Validate(c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList { return nil }

// Taken says which definitions hold names in a group already, but for the definition that
// is being decided about.
type Taken []*crd.Definition

// UpdateStatus computes the status of a CustomResourceDefinition in place (acceptedNames,
// the conditions NamesAccepted, Established and NonStructuralSchema, storedVersions) and
// reports whether it changed.
func UpdateStatus(c *apiextensionsv1.CustomResourceDefinition, taken Taken, now metav1.Time) bool {
	return false
}

// Definition is the definition of customresourcedefinitions.apiextensions.k8s.io.
func Definition() *crd.Definition { return nil }

