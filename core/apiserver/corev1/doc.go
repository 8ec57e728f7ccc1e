// Package corev1 is what the API server serves of core.pintle.dev/v1 itself: transactions and
// the history of objects, as clients send and get them.
//
// It must not know how the server does either.
package corev1
