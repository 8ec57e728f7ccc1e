// Package rules evaluates x-kubernetes-validations with CEL, through the implementation
// that kube-apiserver uses, with its cost limits and ratcheting.
//
// It is apart from package schema so that who only reads schemas (the SDK) does not build
// CEL. It must not know who serves what.
package rules
