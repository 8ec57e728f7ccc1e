// Package review offers the resource types by which clients ask who they are and what
// they may do (SubjectAccessReview and its like, TokenReview, SelfSubjectReview), and the
// token subresource of service accounts. They are virtual: nothing is stored.
package review
