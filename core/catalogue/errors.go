package catalogue

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// refusal is an error that trying again does not heal: something has to be changed first.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Refused says so to those who ask the error itself; see [IsRefused].
func (r *refusal) Refused() bool { return true }

func refuse(format string, args ...any) error {
	return &refusal{fmt.Errorf(format, args...)}
}

// IsRefused reports whether an error of this package stays until somebody changes something: a
// bad signature, a wrong checksum, a version that is not there. Other errors, such as a registry
// that does not answer, are worth another try.
func IsRefused(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// ErrUnsigned is in the error of a plugin that is refused for having no signature at all.
var ErrUnsigned = errors.New("it is not signed")

// errChanged is a file that was written to while it was read.
var errChanged = errors.New("it changed while it was read")

// transient reports whether an error speaks of the way to a registry and not of what is there.
func transient(ctx context.Context, err error) bool {
	if ctx.Err() != nil || IsRefused(err) || errors.Is(err, errdef.ErrNotFound) || errors.Is(err, content.ErrMismatchedDigest) {
		return false
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return false
	}
	var response *errcode.ErrorResponse
	if errors.As(err, &response) {
		return response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusRequestTimeout
	}
	return true
}

// explain says what a registry's answer means for an operator.
func explain(registry string, err error) error {
	const wants = "registry %s wants credentials, or refused those that it was given (401): put them into the file that pluginTrust.credentials names: %w"
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return refuse(wants, registry, err)
	}
	var response *errcode.ErrorResponse
	if !errors.As(err, &response) {
		return fmt.Errorf("registry %s: %w", registry, err)
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return refuse(wants, registry, err)
	case http.StatusForbidden:
		return refuse("registry %s does not let these credentials do that (403): %w", registry, err)
	case http.StatusNotFound:
		return refuse("registry %s has no such repository or artifact (404): %w", registry, err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("registry %s has had too many requests (429): wait, or give credentials that may do more: %w", registry, err)
	}
	return fmt.Errorf("registry %s answered %d: %w", registry, response.StatusCode, err)
}
