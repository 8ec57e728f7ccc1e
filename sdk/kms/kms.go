// Package kms is the extension point for key management: a plugin that wraps the keys by which
// the store is encrypted at rest with a key that never leaves it (a hardware module, a cloud's
// key service). It must not know what is encrypted.
package kms

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// Limits that hosts keep to and hold plugins to.
const (
	// MaxKeyBytes is the length of the longest data key that is wrapped.
	MaxKeyBytes = 1 << 10
	// MaxKeyIDBytes is the length of the longest KeyID.
	MaxKeyIDBytes = 1 << 10
	// MaxWrappedBytes is the length of the longest wrapped data key.
	MaxWrappedBytes = 64 << 10
)

// KeyManager wraps data keys. A server asks rarely: when a data key is made, and at its start
// for each data key that is in use. All methods may be called at the same time, and before any
// API server is there: a key manager is started before the store is opened, and is not given a
// way to the API.
type KeyManager interface {
	plugin.Plugin
	// Status says by which key Wrap wraps now, or what is wrong. It is called about once a
	// minute and must be cheap. Where KeyID becomes another, all data keys are wrapped again,
	// and all objects are encrypted again with a new one.
	Status(ctx context.Context) (Status, error)
	// Wrap encrypts a data key so that nobody can read or change it unnoticed.
	Wrap(ctx context.Context, key []byte) (Wrapped, error)
	// Unwrap is the inverse of Wrap, for every key that Wrap has ever used and that has not
	// been destroyed. It fails where w was changed.
	Unwrap(ctx context.Context, w Wrapped) ([]byte, error)
}

// Status of a key manager.
type Status struct {
	// KeyID names the key by which Wrap wraps. It is shown to operators and holds no secret.
	KeyID string
}

// Wrapped is a data key that only the key manager can read.
type Wrapped struct {
	// KeyID names the key that wrapped Data.
	KeyID string
	Data  []byte
}
