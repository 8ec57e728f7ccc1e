// Package openapi serves the schemas and paths of all resource types: /openapi/v3 with a
// document for each group version, and /openapi/v2. Documents are made when they are
// asked for and kept only while they are in use, under a bound in bytes.
//
// It must not know any resource type: what it says comes from the registry.
package openapi
