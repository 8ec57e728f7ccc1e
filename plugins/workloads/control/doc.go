// Package control holds what the controllers of the workloads plugin share: what they
// watch and when they start (Watches), the loop around a work queue (Loop), whom an event
// of a pod concerns (Owners, PodEvents) and what is expected of pods (Expectations),
// claiming of dependents (Claimer), and what is kept of objects in the informers' caches
// (Trim).
//
// It must not know any one controller.
package control
