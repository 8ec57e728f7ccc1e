package encryption

import (
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/kms"
)

// record is a data key as the store has it, under store.KeyBucket and its number. Fields are
// only added.
type record struct {
	// WrappedBy is "file" or "plugin/NAME".
	WrappedBy string `json:"wrappedBy"`
	// KeyID names the key that wrapped Wrapped.
	KeyID   string `json:"keyID"`
	Wrapped []byte `json:"wrapped"`
	// Created is for operators.
	Created time.Time `json:"created"`
	// Reserved is how many seals servers have taken for themselves, a block at a time: more
	// than were done. At maxSeals another data key follows.
	Reserved uint64 `json:"reserved"`
	// Replaces: what is sealed with an older data key is to be sealed again.
	Replaces bool `json:"replaces,omitempty"`
}

// dataKey is a data key as this server knows it.
type dataKey struct {
	record
	// aead is nil where the key has not been unwrapped here; why says why not.
	aead cipher.AEAD
	why  error
}

const byFile = "file"

func byPlugin(name string) string { return "plugin/" + name }

func (r *record) wrapped() kms.Wrapped { return kms.Wrapped{KeyID: r.KeyID, Data: r.Wrapped} }

// recordKey is where a data key is in the store; numbers sort as text.
func recordKey(id uint64) store.Key {
	return store.Key(fmt.Sprintf("%s//%020d", store.KeyBucket, id))
}

func recordID(key store.Key) (uint64, error) {
	id, err := strconv.ParseUint(string(key[strings.LastIndexByte(string(key), '/')+1:]), 10, 64)
	if err != nil || recordKey(id) != key {
		return 0, fmt.Errorf("%s is no data key's place", key)
	}
	return id, nil
}

func parseRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("the record of a data key is damaged: %w", err)
	}
	return r, nil
}

// write makes the write that puts a record into the store.
func (r *record) write(id uint64, expect store.Expectation) (store.Write, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return store.Write{}, fmt.Errorf("the record of a data key: %w", err)
	}
	return store.Write{Key: recordKey(id), Data: data, RevisionAt: -1, Expect: expect}, nil
}
