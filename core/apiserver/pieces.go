package apiserver

import (
	"github.com/pintle-dev/pintle/core/apiserver/internal/media"
	"github.com/pintle-dev/pintle/core/audit"
	"github.com/pintle-dev/pintle/core/store"
)

// pieceObjects of a long list are read at once and written before the next ones are: objects
// that the store has only on disk are in memory for no longer than that.
const pieceObjects = 500

// canStream says whether a list can be answered piece by piece: nothing must need the whole.
func (q *request) canStream() bool {
	if q.accept.Format == media.Protobuf || q.accept.Format == media.YAML || q.accept.Pretty {
		return false
	}
	return q.server.cfg.Audit == nil || !audit.FromContext(q.ctx).WantsResponse()
}

// readPieces reads the first objects of a whole list, and the others when they are asked for,
// at the same revision. A piece that can't be read, because the list took longer than the
// history lasts, ends the answer in its middle, which no client takes for a whole one.
func (q *request) readPieces(prefix store.Key, opts store.ListOptions) (listed, error) {
	var l listed
	opts.Limit = pieceObjects
	first, more, err := q.piece(prefix, &opts)
	if err != nil {
		return l, err
	}
	l.objects, l.revision = first, opts.Revision
	if more {
		l.rest = func() (objects []store.Object, err error) {
			if more {
				objects, more, err = q.piece(prefix, &opts)
			}
			return objects, err
		}
	}
	return l, nil
}

// piece reads the next objects and moves opts behind them.
func (q *request) piece(prefix store.Key, opts *store.ListOptions) (objects []store.Object, more bool, err error) {
	ctx, end := q.server.step(q.ctx, "list from the store")
	snap, err := q.server.cfg.Store.List(ctx, prefix, *opts)
	end()
	if err != nil {
		return nil, false, q.listError(err, *opts)
	}
	opts.Revision = snap.Revision
	if n := len(snap.Objects); n > 0 {
		opts.After = snap.Objects[n-1].Key
	}
	return snap.Objects, snap.More, q.kind.presentAll(q.ctx, snap.Objects)
}
