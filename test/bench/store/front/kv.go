package front

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/core/store"
)

// kv answers Range and Put.
type kv struct {
	etcdserverpb.UnimplementedKVServer
	*server
}

// Put implements etcdserverpb.KVServer for plain puts.
func (s kv) Put(ctx context.Context, r *etcdserverpb.PutRequest) (*etcdserverpb.PutResponse, error) {
	if r.Lease != 0 || r.PrevKv || r.IgnoreValue || r.IgnoreLease {
		return nil, status.Error(codes.Unimplemented, "put: only key and value are supported")
	}
	o, err := s.store.Write(ctx, store.Write{
		Key: store.Key(r.Key), Data: r.Value, RevisionAt: -1, Expect: store.Any,
	})
	if err != nil {
		return nil, failure(err)
	}
	return &etcdserverpb.PutResponse{Header: s.header(o.Revision)}, nil
}

// Range implements etcdserverpb.KVServer for one key, and for pages of a prefix as
// kube-apiserver asks for them: from the prefix or from behind a key (key + "\x00") to the
// prefix's end. Like etcd it is linearizable unless the request says otherwise, and counts
// what is behind the limit.
func (s kv) Range(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	if !r.Serializable {
		if err := s.store.Barrier(ctx); err != nil {
			return nil, failure(err)
		}
	}
	if len(r.RangeEnd) == 0 {
		return s.one(ctx, r)
	}
	prefix, err := prefixOf(r.RangeEnd)
	if err != nil {
		return nil, err
	}
	opts := store.ListOptions{Revision: uint64(r.Revision), Limit: int(r.Limit)}
	switch {
	case bytes.Equal(r.Key, prefix):
	case bytes.HasPrefix(r.Key, prefix) && bytes.HasSuffix(r.Key, []byte{0}):
		opts.After = store.Key(r.Key[:len(r.Key)-1])
	default:
		return nil, status.Errorf(codes.Unimplemented, "range from %q: want the prefix %q or a key in it and a zero byte", r.Key, prefix)
	}
	out := &etcdserverpb.RangeResponse{}
	items := make([]mvccpb.KeyValue, 0, r.Limit)
	snap, err := s.store.Range(ctx, store.Key(prefix), opts, func(o store.Object) error {
		if len(items) == cap(items) {
			// The pointers handed out must stay where they are.
			items = make([]mvccpb.KeyValue, 0, 512)
		}
		items = items[:len(items)+1]
		it := &items[len(items)-1]
		it.Key, it.Value, it.ModRevision = []byte(o.Key), o.Data, int64(o.Revision)
		out.Kvs = append(out.Kvs, it)
		return nil
	})
	if err != nil {
		return nil, failure(err)
	}
	out.Header, out.More = s.header(snap.Revision), snap.More
	out.Count = int64(len(out.Kvs)) + max(snap.Remaining, 0)
	return out, nil
}

func (s kv) one(ctx context.Context, r *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	if r.Revision != 0 {
		return nil, status.Error(codes.Unimplemented, "range of one key at an old revision")
	}
	out := &etcdserverpb.RangeResponse{Header: s.header(s.store.Revision())}
	o, err := s.store.Get(ctx, store.Key(r.Key))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return out, nil
	case err != nil:
		return nil, failure(err)
	}
	out.Count = 1
	out.Kvs = []*mvccpb.KeyValue{{Key: r.Key, Value: o.Data, ModRevision: int64(o.Revision)}}
	return out, nil
}

// prefixOf is the prefix that a range to end covers.
func prefixOf(end []byte) ([]byte, error) {
	last := len(end) - 1
	if last < 0 || end[last] != '/'+1 {
		return nil, status.Errorf(codes.Unimplemented, "range to %q: want the end of a prefix with a slash at its end", end)
	}
	prefix := bytes.Clone(end)
	prefix[last] = '/'
	return prefix, nil
}

// failure gives an error the code that etcd's client knows.
func failure(err error) error {
	code := codes.Unknown
	switch {
	case errors.Is(err, store.ErrNotLeader), errors.Is(err, store.ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, store.ErrCompacted), errors.Is(err, store.ErrFutureRevision):
		code = codes.OutOfRange
	case errors.Is(err, store.ErrNoSpace):
		code = codes.ResourceExhausted
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}
