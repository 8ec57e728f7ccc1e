// Package webhook asks servers outside the cluster, named by kubeconfig files, who a token
// stands for (TokenReview) and what a user may do (SubjectAccessReview), and remembers the
// answers for a while. It must not know where its configuration is kept.
package webhook
