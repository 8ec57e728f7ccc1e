// Package bootstraptoken authenticates by bootstrap tokens, with which a machine that has no
// identity yet asks for one: secrets of type bootstrap.kubernetes.io/token in the namespace
// kube-system. It must not know what their users may do; roles say that.
package bootstraptoken
