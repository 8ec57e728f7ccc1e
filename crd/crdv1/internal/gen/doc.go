// Command gen writes schema.json.gz: the components of CustomResourceDefinition, derived
// from upstream's generated OpenAPI definitions. Run it with go generate.
//
// It must not be needed by a build: what it makes is checked in.
package main
