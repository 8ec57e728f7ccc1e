package encryption

import "github.com/pintle-dev/pintle/core/store"

// BlockSeals and MaxSeals are how many seals a server takes at a time and a data key has.
const (
	BlockSeals = blockSeals
	MaxSeals   = maxSeals
)

// RecordKey is where a data key is in the store.
func RecordKey(id uint64) store.Key { return recordKey(id) }

// EnvelopeKey is the number of the data key in an envelope.
func EnvelopeKey(envelope []byte) (uint64, error) {
	id, _, err := envelopeKey(envelope)
	return id, err
}

// SealWith and OpenWith use a data key by itself.
func SealWith(key []byte, id uint64, name store.Key, at int, data []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return seal(aead, id, name, at, data), nil
}

func OpenWith(key []byte, name store.Key, at int, envelope []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	id, rest, err := envelopeKey(envelope)
	if err != nil {
		return nil, err
	}
	return open(aead, id, name, at, rest)
}

// UseUp leaves a server with n seals of its block, and the newest data key with none to take.
func (k *Keyring) UseUp(n int64) {
	if c := k.current.Load(); c != nil {
		c.left.Store(n)
	}
}

// Tidy is one round of the leader's work, with ForgetAfter passed for what was seen unused.
var Tidy = (*Keyring).tidy
