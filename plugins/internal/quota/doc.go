// Package quota says what objects use of a ResourceQuota: which of its names a type counts
// towards, whether an object is in its scopes, what one object uses, and whether a request
// still fits. It is shared by the admission that charges usage before an object is written
// and by the controller that counts it again, so that both come to the same figures.
//
// It must not know where objects come from or how a quota is written: it gets typed objects
// and returns lists of quantities.
package quota
