// Package devices has the types of resource.k8s.io: devices, their classes, and claims to
// them.
//
// It must know nothing of how devices are allocated.
package devices
