package apiserver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/apiserver/internal/jsontree"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// reader gives hooks other objects as trees. Trees of objects that are read again and
// again (a namespace's service account) are kept, as long as they are the newest.
type reader struct {
	server *Server

	mu    sync.Mutex
	trees map[store.Key]decoded
	size  int
}

type decoded struct {
	revision uint64
	tree     map[string]any
	size     int
}

// maxReaderBytes bounds the JSON text of the trees kept; a tree takes some eight times
// its text.
const maxReaderBytes = 512 << 10

// maxKeptList is the most objects of a list whose trees are kept: short lists (the classes of
// a cluster, the quotas of a namespace) are read with every write of a kind, long ones are not.
const maxKeptList = 16

var (
	_ resource.Reader    = (*reader)(nil)
	_ resource.RawReader = (*reader)(nil)
)

func newReader(s *Server) *reader { return &reader{server: s, trees: map[store.Key]decoded{}} }

func (r *reader) bucket(gr schema.GroupResource) (string, error) {
	d, ok := r.server.cfg.Registry.Snapshot().Definition(gr)
	if !ok {
		return "", fmt.Errorf("no resource type %q is registered", gr)
	}
	return registry.Bucket(d), nil
}

// Get implements resource.Reader.
func (r *reader) Get(ctx context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	o, err := r.object(ctx, gr, namespace, name)
	if err != nil || o.Data == nil {
		return nil, err
	}
	return r.tree(o)
}

// Raw implements resource.RawReader.
func (r *reader) Raw(ctx context.Context, gr schema.GroupResource, namespace, name string) ([]byte, error) {
	o, err := r.object(ctx, gr, namespace, name)
	return o.Data, err
}

// object has no Data where there is none.
func (r *reader) object(ctx context.Context, gr schema.GroupResource, namespace, name string) (store.Object, error) {
	bucket, err := r.bucket(gr)
	if err != nil {
		return store.Object{}, err
	}
	o, err := r.server.get(ctx, store.Key(bucket+"/"+namespace+"/"+name))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Object{}, nil
	case err != nil:
		return store.Object{}, fmt.Errorf("read %s %q: %w", gr, name, err)
	}
	return o, nil
}

func (r *reader) tree(o store.Object) (map[string]any, error) {
	if o.Revision == 0 { // a transaction is going to write it
		t, err := jsontree.DecodeShared(o.Data)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", o.Key, err)
		}
		return t.Tree, nil
	}
	r.mu.Lock()
	d, ok := r.trees[o.Key]
	r.mu.Unlock()
	if ok && d.revision == o.Revision {
		return d.tree, nil
	}
	t, err := jsontree.DecodeShared(o.Data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", o.Key, err)
	}
	if len(o.Data) > maxReaderBytes/8 {
		return t.Tree, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.trees[o.Key]; ok {
		r.size -= old.size
		delete(r.trees, o.Key)
	}
	for key, old := range r.trees {
		if r.size+len(o.Data) <= maxReaderBytes {
			break
		}
		r.size -= old.size
		delete(r.trees, key)
	}
	r.trees[o.Key] = decoded{o.Revision, t.Tree, len(o.Data)}
	r.size += len(o.Data)
	return t.Tree, nil
}

// List implements resource.Reader.
func (r *reader) List(ctx context.Context, gr schema.GroupResource, namespace string) ([]map[string]any, error) {
	bucket, err := r.bucket(gr)
	if err != nil {
		return nil, err
	}
	prefix := store.Key(bucket + "/")
	if namespace != "" {
		prefix += store.Key(namespace + "/")
	}
	objects, err := r.server.list(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", gr, err)
	}
	if len(objects) == 0 {
		return nil, nil // as it mostly is with what a namespace may have, such as quotas
	}
	list := make([]map[string]any, 0, len(objects))
	for _, o := range objects {
		if len(objects) <= maxKeptList {
			t, err := r.tree(o)
			if err != nil {
				return nil, err
			}
			list = append(list, t)
			continue
		}
		t, err := jsontree.DecodeShared(o.Data)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", o.Key, err)
		}
		list = append(list, t.Tree)
	}
	return list, nil
}
