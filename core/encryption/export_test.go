package encryption

import (
	"crypto/cipher"

	"github.com/pintle-dev/pintle/core/store"
)

// BlockSeals and MaxSeals are how many seals a server takes at a time and a data key has.
const (
	BlockSeals = blockSeals
	MaxSeals   = maxSeals
)

// RecordKey is where a data key is in the store.
func RecordKey(id uint64) store.Key { return recordKey(id) }

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

// Cipher is a data key by itself, made once.
type Cipher struct{ aead cipher.AEAD }

// Bound makes a Cipher.
func Bound(key []byte) Cipher {
	aead, err := newAEAD(key)
	if err != nil {
		panic(err)
	}
	return Cipher{aead}
}

func (c Cipher) Seal(name store.Key, at int, data []byte) { seal(c.aead, 1, name, at, data) }

func (c Cipher) Open(name store.Key, at int, envelope []byte) error {
	id, rest, err := envelopeKey(envelope)
	if err == nil {
		_, err = open(c.aead, id, name, at, rest)
	}
	return err
}
