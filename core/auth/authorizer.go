package auth

import (
	"context"
	"errors"
	"slices"
)

// Authorizer decides about requests.
type Authorizer interface {
	// Authorize returns false with the reason where the request is not allowed; an
	// error where it could not be decided, which also means no. An error that IsDenied
	// knows means that nobody else may allow it.
	Authorize(ctx context.Context, a Attributes) (allowed bool, reason string, err error)
}

// Denied is the error of an authorizer that refuses a request whatever others think.
type Denied struct {
	// Err is why it came to that, where it was not on purpose; nil else.
	Err error
}

// Error implements error.
func (d *Denied) Error() string {
	if d.Err != nil {
		return "denied: " + d.Err.Error()
	}
	return "denied"
}

// Unwrap gives errors.Is what is below.
func (d *Denied) Unwrap() error { return d.Err }

// IsDenied reports whether an authorizer's error forbids others to allow the request.
func IsDenied(err error) bool {
	var d *Denied
	return errors.As(err, &d)
}

// Failure returns what went wrong in deciding, nil where nothing did: a denial on purpose is
// no failure.
func Failure(err error) error {
	var d *Denied
	if errors.As(err, &d) {
		return d.Err
	}
	return err
}

// Union allows what any of its members allows, unless one before it denies it. Members of
// the group system:masters may do everything and nobody is asked.
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
		if err != nil && IsDenied(err) {
			return false, why, err
		}
		switch {
		case why == "":
		case reason == "":
			reason = why
		default:
			reason += "\n" + why
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	return false, reason, failed
}
