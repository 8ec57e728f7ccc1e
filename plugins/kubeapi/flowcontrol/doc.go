// Package flowcontrol has the types of flowcontrol.apiserver.k8s.io: who is served before
// whom.
//
// It must know nothing of how requests are queued.
package flowcontrol
