package crdv1

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Finalizer keeps a CustomResourceDefinition until its objects are deleted.
const Finalizer = apiextensionsv1.CustomResourceCleanupFinalizer

// SetDefaults sets the defaults of a CustomResourceDefinition.
func SetDefaults(c *apiextensionsv1.CustomResourceDefinition) {
	apiextensionsv1.SetDefaults_CustomResourceDefinition(c)
	if conv := c.Spec.Conversion; conv != nil && conv.Webhook != nil && conv.Webhook.ClientConfig != nil && conv.Webhook.ClientConfig.Service != nil {
		apiextensionsv1.SetDefaults_ServiceReference(conv.Webhook.ClientConfig.Service)
	}
}

// PrepareForCreate sets what the client may not: a new definition has no status but the
// version its objects will be stored in.
func PrepareForCreate(c *apiextensionsv1.CustomResourceDefinition) {
	c.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	addStoredVersion(c)
}

// PrepareForUpdate keeps the old status and adds a new storage version to it.
func PrepareForUpdate(c, old *apiextensionsv1.CustomResourceDefinition) {
	c.Status = *old.Status.DeepCopy()
	addStoredVersion(c)
}

func addStoredVersion(c *apiextensionsv1.CustomResourceDefinition) {
	for _, v := range c.Spec.Versions {
		if v.Storage {
			if !slices.Contains(c.Status.StoredVersions, v.Name) {
				c.Status.StoredVersions = append(c.Status.StoredVersions, v.Name)
			}
			return
		}
	}
}
