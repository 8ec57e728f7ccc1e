// Package crdv1 turns apiextensions.k8s.io/v1 CustomResourceDefinitions into definitions:
// it checks them as upstream does, computes their status, and has the definition of
// customresourcedefinitions itself.
//
// Its functions are pure. It must not know how CRDs are stored or watched.
package crdv1
