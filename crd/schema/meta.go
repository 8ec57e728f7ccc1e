package schema

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Names of the components that every type shares.
const (
	objectMetaName = metaPrefix + "ObjectMeta"
	timeName       = metaPrefix + "Time"
	microTimeName  = metaPrefix + "MicroTime"
	metaPrefix     = "io.k8s.apimachinery.pkg.apis.meta.v1."
)

// metaComponents returns the schemas of ObjectMeta and of what it is made of, by the
// names that upstream's OpenAPI documents give them.
var metaComponents = sync.OnceValue(func() map[string]*Schema {
	out := map[string]*Schema{}
	if err := json.Unmarshal([]byte(metaSchemas), &out); err != nil {
		panic(fmt.Sprintf("schema: the built-in schema of ObjectMeta does not parse: %v", err))
	}
	return out
})

// MetaComponents are the schemas of ObjectMeta and of what it is made of. They take the
// place of components with the same names in every type.
func MetaComponents() *Components {
	return &Components{Get: func(name string) *Schema { return metaComponents()[name] }}
}

// MetaComponentNames lists the names that MetaComponents knows.
func MetaComponentNames() []string {
	return []string{
		metaPrefix + "FieldsV1", metaPrefix + "ManagedFieldsEntry", microTimeName, objectMetaName,
		metaPrefix + "OwnerReference", timeName,
	}
}

// WithMeta returns a copy of a type's outermost schema that has apiVersion, kind and
// metadata (a reference to ObjectMeta), as OpenAPI documents show it.
func (s *Schema) WithMeta() *Schema {
	if s.Ref != "" && s.Root != nil {
		if target := s.Root.Get(s.Ref); target != nil {
			root := s.Root
			s = target
			c := *s
			c.Root = root
			s = &c
		}
	}
	out := *s
	out.Type = "object"
	out.Properties = make(map[string]*Schema, len(s.Properties)+3)
	for k, p := range s.Properties {
		out.Properties[k] = p
	}
	for name, text := range map[string]string{
		"apiVersion": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
		"kind":       "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
	} {
		if given := out.Properties[name]; given == nil || given.Description == "" {
			out.Properties[name] = &Schema{Type: "string", Description: text}
		}
	}
	meta := &Schema{Ref: objectMetaName, Description: "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"}
	if given := out.Properties["metadata"]; given != nil && given.Description != "" {
		meta.Description = given.Description
	}
	out.Properties["metadata"] = meta
	return &out
}

// metaSchemas are kept as text: only a process that compiles or shows schemas pays for
// them.
const metaSchemas = `{
"io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time",
  "description": "Time is a wrapper around time.Time which supports correct marshaling to YAML and JSON."},
"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {"type": "string", "format": "date-time",
  "description": "MicroTime is version of Time with microsecond level precision."},
"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object",
  "description": "FieldsV1 stores a set of fields in a data structure like a Trie, in JSON format."},
"io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference": {"type": "object",
  "description": "OwnerReference contains enough information to let you identify an owning object. An owning object must be in the same namespace as the dependent, or be cluster-scoped, so there is no namespace field.",
  "required": ["apiVersion", "kind", "name", "uid"],
  "x-kubernetes-map-type": "atomic",
  "properties": {
    "apiVersion": {"type": "string", "description": "API version of the referent."},
    "blockOwnerDeletion": {"type": "boolean", "description": "If true, AND if the owner has the \"foregroundDeletion\" finalizer, then the owner cannot be deleted from the key-value store until this reference is removed."},
    "controller": {"type": "boolean", "description": "If true, this reference points to the managing controller."},
    "kind": {"type": "string", "description": "Kind of the referent."},
    "name": {"type": "string", "description": "Name of the referent."},
    "uid": {"type": "string", "description": "UID of the referent."}}},
"io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry": {"type": "object",
  "description": "ManagedFieldsEntry is a workflow-id, a FieldSet and the group version of the resource that the fieldset applies to.",
  "properties": {
    "apiVersion": {"type": "string", "description": "APIVersion defines the version of this resource that this field set applies to."},
    "fieldsType": {"type": "string", "description": "FieldsType is the discriminator for the different fields format and version. There is currently only one possible value: \"FieldsV1\""},
    "fieldsV1": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "description": "FieldsV1 holds the first JSON version format as described in the \"FieldsV1\" type."},
    "manager": {"type": "string", "description": "Manager is an identifier of the workflow managing these fields."},
    "operation": {"type": "string", "description": "Operation is the type of operation which lead to this ManagedFieldsEntry being created. The only valid values for this field are 'Apply' and 'Update'."},
    "subresource": {"type": "string", "description": "Subresource is the name of the subresource used to update that object, or empty string if the object was updated through the main resource."},
    "time": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "description": "Time is the timestamp of when the ManagedFields entry was added."}}},
"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object",
  "description": "ObjectMeta is metadata that all persisted resources must have, which includes all objects users must create.",
  "properties": {
    "annotations": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Annotations is an unstructured key value map stored with a resource that may be set by external tools to store and retrieve arbitrary metadata."},
    "creationTimestamp": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "description": "CreationTimestamp is a timestamp representing the server time when this object was created. It is represented in RFC3339 form and is in UTC. Populated by the system. Read-only."},
    "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "description": "Number of seconds allowed for this object to gracefully terminate before it will be removed from the system. Only set when deletionTimestamp is also set. Read-only."},
    "deletionTimestamp": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.Time", "description": "DeletionTimestamp is RFC 3339 date and time at which this resource will be deleted. Populated by the system when a graceful deletion is requested. Read-only."},
    "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge", "description": "Must be empty before the object is deleted from the registry. Each entry is an identifier for the responsible component that will remove the entry from the list."},
    "generateName": {"type": "string", "description": "GenerateName is an optional prefix, used by the server, to generate a unique name ONLY IF the Name field has not been provided."},
    "generation": {"type": "integer", "format": "int64", "description": "A sequence number representing a specific generation of the desired state. Populated by the system. Read-only."},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Map of string keys and values that can be used to organize and categorize (scope and select) objects."},
    "managedFields": {"type": "array", "items": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"}, "x-kubernetes-list-type": "atomic", "description": "ManagedFields maps workflow-id and version to the set of fields that are managed by that workflow."},
    "name": {"type": "string", "description": "Name must be unique within a namespace. Cannot be updated."},
    "namespace": {"type": "string", "description": "Namespace defines the space within which each name must be unique. Cannot be updated."},
    "ownerReferences": {"type": "array", "items": {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference"}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"], "x-kubernetes-patch-merge-key": "uid", "x-kubernetes-patch-strategy": "merge", "description": "List of objects depended by this object. If ALL objects in the list have been deleted, this object will be garbage collected."},
    "resourceVersion": {"type": "string", "description": "An opaque value that represents the internal version of this object that can be used by clients to determine when objects have changed. Populated by the system. Read-only."},
    "selfLink": {"type": "string", "description": "Deprecated: selfLink is a legacy read-only field that is no longer populated by the system."},
    "uid": {"type": "string", "description": "UID is the unique in time and space value for this object. Populated by the system. Read-only."}}}
}`
