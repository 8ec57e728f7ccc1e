// Package match says whether an admission request is one that a webhook or a policy is
// about: by its rules (operations, groups, versions, resources, scope), by the labels of the
// object and of its namespace, and, where the match policy allows, by the other resources
// that serve the same objects.
//
// It is shared by the webhooks and the policies. It must not know what either of them does
// with a request, nor anything of CEL.
package match
