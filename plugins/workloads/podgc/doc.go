// Package podgc deletes pods that nobody else will: those of nodes that are gone, those
// that were deleted before they had a node, and the oldest finished ones where there are
// too many.
package podgc
