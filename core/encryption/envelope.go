package encryption

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pintle-dev/pintle/core/store"
)

// An envelope is what a sealed object is kept as:
//
//	01, uvarint number of the data key, nonce (12 bytes), AES-256-GCM of the object, tag (16)
//
// The nonce is random; a data key seals at most maxSeals objects, so that the chance that two
// have the same one stays below 2^-36. What is authenticated beside the object: the number of the
// key, the offset at which its revision belongs, and its key in the store, so that an envelope
// can't be said to be another object's.
const (
	envelopeVersion = 1
	nonceBytes      = 12
	tagBytes        = 16
	keyBytes        = 32

	// maxSeals is how often a data key is used.
	maxSeals = 1 << 30
)

var (
	errEnvelope = errors.New("what is stored is no envelope that this server knows")
	errOpen     = errors.New("what is stored was changed, or belongs to another object")
)

// envelopeKey reads the number of the data key in an envelope.
func envelopeKey(envelope []byte) (id uint64, rest []byte, err error) {
	if len(envelope) == 0 {
		return 0, nil, errEnvelope
	}
	if envelope[0] != envelopeVersion {
		return 0, nil, fmt.Errorf("%w: its version is %d", errEnvelope, envelope[0])
	}
	id, n := binary.Uvarint(envelope[1:])
	if n <= 0 || len(envelope) < 1+n+nonceBytes+tagBytes {
		return 0, nil, errEnvelope
	}
	return id, envelope[1+n:], nil
}

// seal makes an envelope with a data key.
func seal(aead cipher.AEAD, id uint64, key store.Key, at int, data []byte) []byte {
	out := make([]byte, 0, 1+binary.MaxVarintLen64+nonceBytes+len(data)+tagBytes)
	out = binary.AppendUvarint(append(out, envelopeVersion), id)
	var scratch [256]byte
	return aead.Seal(out, nil, data, binding(scratch[:0], id, key, at))
}

// open opens the rest of an envelope.
func open(aead cipher.AEAD, id uint64, key store.Key, at int, rest []byte) ([]byte, error) {
	var scratch [256]byte
	data, err := aead.Open(make([]byte, 0, len(rest)), nil, rest, binding(scratch[:0], id, key, at))
	if err != nil {
		return nil, errOpen
	}
	return data, nil
}

// binding is what an envelope is bound to.
func binding(dst []byte, id uint64, key store.Key, at int) []byte {
	dst = append(dst, "pintle sealed object 1\x00"...)
	dst = binary.AppendUvarint(dst, id)
	dst = binary.AppendVarint(dst, int64(at))
	return append(dst, key...)
}

// newAEAD makes the cipher of a key; it puts a random nonce in front of what it seals.
func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != keyBytes {
		return nil, fmt.Errorf("a key has %d bytes, this one %d", keyBytes, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func newKey() ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}
