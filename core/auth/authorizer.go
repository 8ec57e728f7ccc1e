package auth

import (
	"context"
	"slices"
)

// Authorizer decides about requests.
type Authorizer interface {
	// Authorize returns false with the reason where the request is not allowed; an
	// error where it could not be decided, which also means no.
	Authorize(ctx context.Context, a Attributes) (allowed bool, reason string, err error)
}

// Union allows what any of its members allows. Members of the group system:masters may do
// everything and nobody is asked.
type Union []Authorizer

var _ Authorizer = Union(nil)

// Authorize implements Authorizer.
func (u Union) Authorize(ctx context.Context, a Attributes) (bool, string, error) {
	if slices.Contains(a.User.Groups, MastersGroup) {
		return true, "", nil
	}
	var (
		reason string
		failed error
	)
	for _, authorizer := range u {
		ok, why, err := authorizer.Authorize(ctx, a)
		if ok {
			return true, why, nil
		}
		switch {
		case why == "":
		case reason == "":
			reason = why
		default:
			reason += ", " + why
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	return false, reason, failed
}
