// Package hooks puts hooks of the core's own beside those that a bundle has for a
// resource. It must not know any resource.
package hooks
