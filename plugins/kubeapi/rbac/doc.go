// Package rbac has the types of rbac.authorization.k8s.io: roles and their bindings, with
// their hooks and tables. Whether somebody may grant what they grant is decided elsewhere.
//
// It must know nothing of authorization.
package rbac
