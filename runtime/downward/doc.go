// Package downward reads from a pod what it may be told about itself: fields of its
// object and of its status, and its containers' resources. Volumes and environments share
// it. It knows the API types only.
package downward
