package encryption

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/kms"
)

// Wrapper wraps data keys; a kms.KeyManager is one.
type Wrapper interface {
	Status(ctx context.Context) (kms.Status, error)
	Wrap(ctx context.Context, key []byte) (kms.Wrapped, error)
	Unwrap(ctx context.Context, w kms.Wrapped) ([]byte, error)
}

// Objects reads and writes the store; *store.Store implements it.
type Objects interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	Write(ctx context.Context, w store.Write) (store.Object, error)
	Rewrite(ctx context.Context, key store.Key, revision uint64) error
	Forms(ctx context.Context, history bool, fn func(key store.Key, revision uint64, envelope []byte) error) error
}

// Leader says whether this server leads; *store.Store implements it.
type Leader interface {
	Leadership() (leader bool, address string)
	LeadershipChanged() <-chan struct{}
}

// Store is what a Keyring asks of the store.
type Store interface {
	Objects
	Leader
}

// Config of a Keyring. It must be the same on all servers of a cluster.
type Config struct {
	Resources Resources
	// KeyFile is a file of keys (see KeyFile), Manager the key-management plugin of the name
	// Plugin. Where both are given the plugin wraps and the file only unwraps what it has
	// wrapped before, or with PreferFile the other way round.
	KeyFile    string
	Plugin     string
	Manager    Wrapper
	PreferFile bool
	// AllowMissing lets a server start although data keys can't be unwrapped, and seal with a
	// new one: what they have sealed is lost, and can be overwritten and deleted.
	AllowMissing bool

	// Rate is how many objects the leader writes again in a second, where they are not sealed
	// as they should be. Default 500.
	Rate int
	// Poll is how often the key manager is asked for its status. Default 1 min.
	Poll time.Duration
	// ForgetAfter is how long nothing may have been sealed with a data key, versions of the
	// history among it, until it is deleted. Default 1 h.
	ForgetAfter time.Duration
	// StartTimeout bounds how long a start waits for the key manager. Default 30 s.
	StartTimeout time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
}

// blockSeals is how many seals a server takes for itself at a time, lowSeals how many are left
// when it takes the next.
const (
	blockSeals = 1 << 18
	lowSeals   = blockSeals / 4
	// callTimeout bounds one call of a key manager.
	callTimeout = 10 * time.Second
)

// Keyring seals and opens objects. It is the store's Sealer from before that is opened; Attach
// gives it the store to write to, and Run keeps things in line.
type Keyring struct {
	cfg  Config
	log  *slog.Logger
	file atomic.Pointer[KeyFile]

	// store is set by Attach.
	store    Store
	attached chan struct{}

	// aeads are the data keys that can be used, copied at each change.
	aeads atomic.Pointer[map[uint64]cipher.AEAD]
	// current is what seals now, nil where a data key or a block of seals must be had first.
	current atomic.Pointer[sealing]
	// reserving is held by who gets those.
	reserving chan struct{}

	mu     sync.Mutex
	keys   map[uint64]*dataKey
	newest uint64
	// health of the wrapper, as last asked.
	health error
	// wrapsWith names the wrapper's key, as last asked.
	wrapsWith string
	// wake is closed when there may be work to do.
	wake chan struct{}
}

var _ store.Sealer = (*Keyring)(nil)

// sealing is a data key with a block of seals that this server may do.
type sealing struct {
	id   uint64
	aead cipher.AEAD
	left atomic.Int64
}

// New makes a keyring and reads the key file.
func New(cfg Config) (*Keyring, error) {
	if cfg.KeyFile == "" && cfg.Manager == nil {
		return nil, errors.New("keys: a file or a plugin is needed")
	}
	cfg.Rate = cmp.Or(cfg.Rate, 500)
	cfg.Poll = cmp.Or(cfg.Poll, time.Minute)
	cfg.ForgetAfter = cmp.Or(cfg.ForgetAfter, time.Hour)
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, 30*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	k := &Keyring{
		cfg: cfg, log: cfg.Logger.With("component", "encryption"), keys: map[uint64]*dataKey{},
		attached: make(chan struct{}), reserving: make(chan struct{}, 1), wake: make(chan struct{}),
	}
	k.aeads.Store(&map[uint64]cipher.AEAD{})
	if cfg.KeyFile != "" {
		f, err := ReadKeyFile(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("keys.file: %w", err)
		}
		k.file.Store(f)
	}
	return k, nil
}

// Attach gives the keyring the opened store. It is called once, before anything is written.
func (k *Keyring) Attach(s Store) {
	k.store = s
	close(k.attached)
}

// wrapper is what wraps new data keys, and how records name it.
func (k *Keyring) wrapper() (Wrapper, string) {
	if f := k.file.Load(); f != nil && (k.cfg.PreferFile || k.cfg.Manager == nil) {
		return f, byFile
	}
	return k.cfg.Manager, byPlugin(k.cfg.Plugin)
}

// unwrap makes the cipher of a data key. With local only what the file has wrapped is unwrapped.
func (k *Keyring) unwrap(ctx context.Context, r *record, local bool) (cipher.AEAD, error) {
	w, err := k.unwrapper(r, local)
	if err != nil {
		return nil, err
	}
	key, err := unwrapWith(ctx, w, r)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

// plainKey unwraps a data key in order to wrap it anew.
func (k *Keyring) plainKey(ctx context.Context, r *record) ([]byte, error) {
	w, err := k.unwrapper(r, false)
	if err != nil {
		return nil, err
	}
	return unwrapWith(ctx, w, r)
}

func unwrapWith(ctx context.Context, w Wrapper, r *record) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return w.Unwrap(ctx, r.wrapped())
}

// unwrapper is what has wrapped a data key.
func (k *Keyring) unwrapper(r *record, local bool) (Wrapper, error) {
	switch f := k.file.Load(); {
	case r.WrappedBy == byFile && f != nil:
		return f, nil
	case r.WrappedBy == byFile:
		return nil, fmt.Errorf("it is wrapped by key %q of a file, and no file is configured (store.encryption.keys.file)", r.KeyID)
	case k.cfg.Manager == nil || r.WrappedBy != byPlugin(k.cfg.Plugin):
		return nil, fmt.Errorf("it is wrapped by key %q of %s, which is not configured (store.encryption.keys.plugin)", r.KeyID, r.WrappedBy)
	case local:
		return nil, errWaiting
	}
	return k.cfg.Manager, nil
}

var errWaiting = errors.New("the key manager has not unwrapped it yet")

// Learn implements store.Sealer.
func (k *Keyring) Learn(key store.Key, data []byte) {
	id, err := recordID(key)
	if err != nil {
		k.log.Error("What stands among the data keys is none", "key", key)
		return
	}
	if data == nil {
		k.forget(id)
		return
	}
	r, err := parseRecord(data)
	if err != nil {
		k.log.Error("A data key can't be read", "dataKey", id, "error", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.keys[id]
	if d == nil {
		d = &dataKey{}
		k.keys[id] = d
	}
	again := d.record.WrappedBy != r.WrappedBy || d.KeyID != r.KeyID
	d.record = r
	if d.aead == nil {
		var aead cipher.AEAD
		if aead, d.why = k.unwrap(context.Background(), &r, true); d.why == nil {
			k.useLocked(id, aead)
		}
		again = true
	}
	if id > k.newest {
		k.newest = id
		k.current.Store(nil)
	}
	if again {
		k.wakeLocked()
	}
}

func (k *Keyring) forget(id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, id)
	if id == k.newest {
		k.newest = 0
		for other := range k.keys {
			k.newest = max(k.newest, other)
		}
		k.current.Store(nil)
	}
	aeads := maps.Clone(*k.aeads.Load())
	delete(aeads, id)
	k.aeads.Store(&aeads)
}

func (k *Keyring) useLocked(id uint64, aead cipher.AEAD) {
	if d := k.keys[id]; d != nil {
		d.aead, d.why = aead, nil
	}
	aeads := maps.Clone(*k.aeads.Load())
	aeads[id] = aead
	k.aeads.Store(&aeads)
}

func (k *Keyring) wakeLocked() {
	close(k.wake)
	k.wake = make(chan struct{})
}

// woken returns a channel that is closed when there may be work.
func (k *Keyring) woken() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wake
}

// Loaded implements store.Sealer: every data key must be unwrapped, and the wrapper at work.
func (k *Keyring) Loaded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.StartTimeout)
	defer cancel()
	for {
		err := k.unwrapAll(ctx)
		if err != nil && k.cfg.AllowMissing {
			k.log.Error("Data keys are missing; as keys.allowMissing says, what they encrypt is given up", "error", err)
			err = nil
		}
		if err == nil && k.cfg.Resources.Any() {
			err = k.ask(ctx)
		}
		if err == nil {
			return nil
		}
		if k.cfg.Manager == nil || !k.waiting() {
			return fmt.Errorf("encryption at rest: %w", err)
		}
		// What the key manager was asked for may heal, while its process starts for one.
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("encryption at rest: %w", err)
		}
	}
}

// waiting reports whether what is missing, if anything, is for the key manager to give.
func (k *Keyring) waiting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.keys {
		if d.aead == nil && d.WrappedBy != byPlugin(k.cfg.Plugin) {
			return false
		}
	}
	return true
}

// ask asks the wrapper for its status and remembers it. Another key is a reason to work.
func (k *Keyring) ask(ctx context.Context) error {
	w, name := k.wrapper()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	st, err := w.Status(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.health = err
	if id := name + "/" + st.KeyID; err == nil && id != k.wrapsWith {
		k.wrapsWith = id
		k.wakeLocked()
	}
	return err
}

// unwrapAll unwraps what has not been yet; the error is that of the oldest that can't be.
func (k *Keyring) unwrapAll(ctx context.Context) error {
	var first error
	for _, id := range k.ids() {
		if _, err := k.aead(ctx, id); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// ids of all data keys, oldest first.
func (k *Keyring) ids() []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.keys))
}

// aead returns the cipher of a data key, which is unwrapped now if it was not before.
func (k *Keyring) aead(ctx context.Context, id uint64) (cipher.AEAD, error) {
	k.mu.Lock()
	d := k.keys[id]
	if d == nil {
		k.mu.Unlock()
		return nil, fmt.Errorf("data key %d is not known here", id)
	}
	if d.aead != nil {
		defer k.mu.Unlock()
		return d.aead, nil
	}
	r := d.record
	k.mu.Unlock()
	aead, err := k.unwrap(ctx, &r, false)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if d := k.keys[id]; d != nil && d.aead == nil {
			d.why = err
		}
		return nil, fmt.Errorf("data key %d can't be unwrapped: %w", id, err)
	}
	k.useLocked(id, aead)
	return aead, nil
}

// Seals implements store.Sealer.
func (k *Keyring) Seals(bucket string) bool { return k.cfg.Resources.Has(bucket) }

// Open implements store.Sealer.
func (k *Keyring) Open(key store.Key, at int, envelope []byte) ([]byte, error) {
	id, rest, err := envelopeKey(envelope)
	if err != nil {
		return nil, err
	}
	if aead, ok := (*k.aeads.Load())[id]; ok {
		return open(aead, id, key, at, rest)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.keys[id]; d != nil && d.why != nil {
		return nil, fmt.Errorf("data key %d can't be unwrapped: %w", id, d.why)
	}
	return nil, fmt.Errorf("data key %d is not known here", id)
}
