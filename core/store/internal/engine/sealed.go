package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/pintle-dev/pintle/core/store/internal/value"
)

// ErrSealed says that a value is sealed and can't be opened here.
var ErrSealed = errors.New("it is encrypted and can't be decrypted here")

// Opener returns what an envelope holds, which belongs to a key, an offset at being part of
// what it holds. It must not block. Its errors say why it can't.
type Opener func(key string, at int, envelope []byte) ([]byte, error)

// SetOpener makes all reads return what sealed values hold. What is written, and what goes into
// streams, is left as it comes. It is called before anything is read.
func (e *Engine) SetOpener(o Opener) { e.opener = o }

// Open returns v, or what it holds where it is sealed. The error is ErrSealed.
func (e *Engine) Open(key string, revision uint64, v value.Value) (value.Value, error) {
	envelope, at, ok := v.Envelope()
	if !ok {
		return v, nil
	}
	if e.opener == nil {
		return nil, fmt.Errorf("%w: this server was given no keys", ErrSealed)
	}
	data, err := e.opener(key, at, envelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	if at > len(data) {
		return nil, fmt.Errorf("%w: its revision belongs at %d of %d bytes", ErrSealed, at, len(data))
	}
	return value.Make(data, at, revision), nil
}

// scanStored is Scan without opening what is sealed.
func (e *Engine) scanStored(ctx context.Context, prefix, after string, revision uint64,
	fn func(key string, version uint64, load func() (value.Value, error)) (bool, error),
) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return badger.ErrDBClosed
	}
	return scan(ctx, e.db, prefix, after, revision, fn)
}

// formPiece is how many keys are looked at without a pause for who wants to replace the state.
const formPiece = 1024

// Forms calls fn with all versions that are kept, in the order of keys and the newest first, or
// with only the newest version of each key. envelope is nil of what
// is not sealed, and valid until fn returns. Deletions are left out.
func (e *Engine) Forms(ctx context.Context, newest bool, fn func(key string, version uint64, envelope []byte) error) error {
	for after := ""; ; {
		last, err := e.formPiece(ctx, after, newest, fn)
		if err != nil || last == "" {
			return err
		}
		after = last
	}
}

// formPiece goes over the keys behind after and returns the last one, or "" at the end.
func (e *Engine) formPiece(ctx context.Context, after string, newest bool, fn func(string, uint64, []byte) error) (string, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return "", badger.ErrDBClosed
	}
	txn := e.db.NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{objectPrefix}, AllVersions: !newest})
	defer it.Close()
	seek := objectKey(after)
	if after != "" {
		seek = append(seek, 0)
	}
	keys, last := 0, ""
	for it.Seek(seek); it.Valid(); it.Next() {
		item := it.Item()
		if string(item.Key()[1:]) != last {
			if keys == formPiece {
				return last, ctx.Err()
			}
			keys, last = keys+1, string(item.Key()[1:])
		}
		if item.IsDeletedOrExpired() {
			continue
		}
		if !isSealed(item.UserMeta()) {
			if err := fn(last, item.Version(), nil); err != nil {
				return "", err
			}
			continue
		}
		err := storedOf(item, func(b []byte) error {
			envelope, _, ok := value.Value(b).Envelope()
			if !ok {
				return fmt.Errorf("%s at revision %d is damaged: it has the form of a sealed value", last, item.Version())
			}
			return fn(last, item.Version(), envelope)
		})
		if err != nil {
			return "", err
		}
	}
	return "", ctx.Err()
}
