// Command gen derives the schemas of the Kubernetes types from k8s.io/api and writes them
// to plugins/kubeapi/schemas/data. It is run by go generate in plugins/kubeapi.
//
// openapi-gen makes Go code of the types into a temporary folder; that code and a small
// printer are laid over this module (go run -overlay), so that nothing generated but
// unneeded is ever part of the tree; what the printer prints is merged with overlay.yaml,
// which has what upstream says in code and not in markers, and written as data.
package main
