package encryption

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/internal/status"
	"github.com/pintle-dev/pintle/core/store"
)

// Status is how what is stored on one server is encrypted.
type Status struct {
	// WrappedBy and KeyID name what wraps new data keys; Problem says what is wrong with it.
	WrappedBy string `json:"wrappedBy"`
	KeyID     string `json:"keyID,omitempty"`
	Problem   string `json:"problem,omitempty"`
	// DataKeys, oldest first.
	DataKeys []DataKeyStatus `json:"dataKeys"`
	// Resources that are encrypted or are to be, by name.
	Resources []ResourceStatus `json:"resources"`
	// Pending is how many objects the leader still writes again.
	Pending int `json:"pending"`
}

// DataKeyStatus is one data key.
type DataKeyStatus struct {
	ID        uint64    `json:"id"`
	Created   time.Time `json:"created"`
	WrappedBy string    `json:"wrappedBy"`
	KeyID     string    `json:"keyID"`
	// Objects that are encrypted with it now.
	Objects int `json:"objects"`
	// Current is the one that encrypts.
	Current bool `json:"current,omitempty"`
	// Problem says why this server can't use it.
	Problem string `json:"problem,omitempty"`
}

// ResourceStatus is one type.
type ResourceStatus struct {
	Name      string `json:"name"`
	Encrypted int    `json:"encrypted"`
	Plain     int    `json:"plain"`
	// Wanted: new objects are encrypted.
	Wanted bool `json:"wanted"`
}

// Status looks at all that is stored.
func (k *Keyring) Status(ctx context.Context) (Status, error) {
	w, by := k.wrapper()
	st := Status{WrappedBy: by}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	now, err := w.Status(call)
	cancel()
	if st.KeyID = now.KeyID; err != nil {
		st.Problem = err.Error()
	}
	floor := k.oldest()
	objects, resources := map[uint64]int{}, map[string]*ResourceStatus{}
	err = k.store.Forms(ctx, false, func(key store.Key, _ uint64, envelope []byte) error {
		bucket := bucketOf(key)
		wanted := k.cfg.Resources.Has(bucket)
		if envelope == nil && !wanted {
			return nil
		}
		r := resources[bucket]
		if r == nil {
			r = &ResourceStatus{Name: strings.Clone(bucket), Wanted: wanted}
			resources[r.Name] = r
		}
		if k.wrong(key, envelope, floor) {
			st.Pending++
		}
		if envelope == nil {
			r.Plain++
			return nil
		}
		r.Encrypted++
		if id, _, err := envelopeKey(envelope); err == nil {
			objects[id]++
		}
		return nil
	})
	if err != nil {
		return st, err
	}
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		st.Resources = append(st.Resources, *resources[name])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(k.keys)) {
		d := k.keys[id]
		one := DataKeyStatus{ID: id, Created: d.Created, WrappedBy: d.WrappedBy, KeyID: d.KeyID,
			Objects: objects[id], Current: id == k.newest}
		if d.aead == nil && d.why != nil {
			one.Problem = d.why.Error()
		}
		st.DataKeys = append(st.DataKeys, one)
		delete(objects, id)
	}
	for _, id := range slices.Sorted(maps.Keys(objects)) {
		st.DataKeys = append(st.DataKeys, DataKeyStatus{ID: id, Objects: objects[id], Problem: "the data key is gone: what it encrypts can't be read"})
	}
	return st, nil
}

func bucketOf(key store.Key) string {
	bucket, _, _ := strings.Cut(string(key), "/")
	return bucket
}

// Path is where Handler is served: who may list core.pintle.dev/encryption sees the status, who
// may create it rotates.
const Path = "/apis/core.pintle.dev/v1/encryption"

// Handler serves GET with the Status as JSON, and POST, which rotates and then does the same. Who
// may do so is for others to decide.
func (k *Keyring) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.Method {
		case http.MethodGet:
		case http.MethodPost:
			err = k.Rotate(r.Context())
		default:
			err = apierrors.NewMethodNotSupported(schema.GroupResource{Group: "core.pintle.dev", Resource: "encryption"}, r.Method)
		}
		var st Status
		if err == nil {
			st, err = k.Status(r.Context())
		}
		if err != nil {
			status.Write(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(st); err != nil {
			k.log.Debug("The client has gone", "error", err)
		}
	})
}

// Disabled answers in the place of Handler where nothing is encrypted.
func Disabled() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status.Write(w, apierrors.NewBadRequest("encryption at rest is not configured on this server (store.encryption)"))
	})
}
