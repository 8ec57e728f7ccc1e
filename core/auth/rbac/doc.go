// Package rbac decides by roles and bindings. It keeps an index of the four kinds of
// rbac.authorization.k8s.io by watching the store, answers in about a microsecond, works
// out aggregated cluster roles, lists what a user may do, and keeps users from granting
// what they do not have. The cluster's first roles and bindings are data of it too.
//
// It must not know how users are authenticated nor how requests are routed.
package rbac
