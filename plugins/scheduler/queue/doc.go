// Package queue orders the pods that wait for a node: those to be tried now by priority
// and age, those that failed until their back-off is over, and those that can't be
// placed until something in the cluster changes.
//
// It must not know why pods fail: reasons are bits in a set. It is not safe for
// concurrent use: its owner holds a lock.
package queue
