package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/apiserver/internal/protobuf"
	"github.com/pintle-dev/pintle/core/apiserver/internal/table"
	"github.com/pintle-dev/pintle/core/store"
)

// get answers with one object. Without a wish for another form the stored bytes are the
// answer.
func (q *request) get() error {
	if err := q.negotiate(media.Offer{Protobuf: q.kind.protobuf, Views: true}); err != nil {
		return err
	}
	if err := q.fresh(q.query.Get("resourceVersion")); err != nil {
		return err
	}
	o, err := q.load(q.route.name)
	if err != nil {
		return err
	}
	data, err := q.kind.present(o.Data)
	if err != nil {
		return err
	}
	if q.accept.Format == media.Protobuf {
		gvk := q.kind.GVK
		if q.accept.View == media.Metadata {
			gvk = partialGVK
		}
		raw, err := q.protobuf(o, data)
		if err != nil {
			return err
		}
		return q.respondAs(http.StatusOK, gvk, nil, raw)
	}
	return q.respondObject(http.StatusOK, data)
}

// load reads an object of the request's kind.
func (q *request) load(name string) (store.Object, error) {
	o, err := q.server.get(q.ctx, q.kind.key(q.route.namespace, name))
	if errors.Is(err, store.ErrNotFound) {
		return o, apierrors.NewNotFound(q.kind.gr, name)
	}
	if err != nil {
		return o, fmt.Errorf("read %s %q: %w", q.kind.gr, name, err)
	}
	if q.op != nil {
		return o, q.op.required(q.kind, name, o)
	}
	return o, nil
}

// protobuf returns an object's bare message in the negotiated view, made at most once as
// long as the cache has it.
func (q *request) protobuf(o store.Object, data []byte) ([]byte, error) {
	key := derivedKey{key: o.Key, revision: o.Revision, apiVersion: q.kind.apiVersion, view: uint8(q.accept.View)}
	return q.server.derived.get(key, func() ([]byte, error) {
		if q.accept.View == media.Metadata {
			return protobuf.Metadata(table.Partial(nil, data, "v1"))
		}
		return protobuf.GoTypes(q.server.cfg.GoTypes).Raw(q.kind.GVK, data)
	})
}

// fresh makes sure that local state is as new as a read asks for: "" the newest there is,
// "0" any, else at least that revision.
func (q *request) fresh(version string) error {
	switch version {
	case "0":
		return nil
	case "":
		return q.barrier()
	}
	rv, err := parseRevision(version)
	if err != nil {
		return err
	}
	return q.waitFor(rv)
}

// barrier waits until local state has all that was acknowledged before.
func (q *request) barrier() error {
	if q.server.cfg.Newest == nil {
		return nil
	}
	if err := q.server.cfg.Newest.Barrier(q.ctx); err != nil {
		return fmt.Errorf("wait for the newest state: %w", err)
	}
	return nil
}

// maxRevisionWait is how long a read waits for a revision that is not here yet.
const maxRevisionWait = 750 * time.Millisecond

func (q *request) waitFor(rv uint64) error {
	s := q.server.cfg.Store
	if rv <= s.Revision() {
		return nil
	}
	ctx, cancel := context.WithTimeout(q.ctx, maxRevisionWait)
	defer cancel()
	if err := s.WaitFor(ctx, rv); err != nil {
		if q.ctx.Err() != nil {
			return q.ctx.Err()
		}
		// Nobody has it, or this server is far behind.
		if err := q.barrier(); err != nil {
			return err
		}
		if rv <= s.Revision() {
			return nil
		}
		return tooLarge(rv, s.Revision())
	}
	return nil
}

func tooLarge(want, have uint64) error {
	e := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", want, have), 1)
	e.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return e
}

func parseRevision(text string) (uint64, error) {
	rv, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: resourceVersion: Invalid value: %q: %v", text, err))
	}
	return rv, nil
}
