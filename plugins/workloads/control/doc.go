// Package control holds what the controllers of the workloads plugin share: the loop
// around a work queue, expectations, claiming of dependents, and what is kept of objects
// in the informers' caches.
//
// It must not know any one controller.
package control
