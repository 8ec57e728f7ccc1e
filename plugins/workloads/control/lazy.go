package control

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// Lazy is an informer of the kit that starts when somebody needs it for the first time,
// and then stays. It is for what belongs to kinds of which a cluster may have none.
// Safe for concurrent use.
type Lazy struct {
	kit     Kit
	find    func() cache.SharedIndexInformer
	prepare func(cache.SharedIndexInformer) error
	handler cache.ResourceEventHandler

	mu     sync.Mutex
	store  cache.Indexer
	synced cache.InformerSynced
}

// NewLazy returns an informer that is not there yet. find asks the kit's factory for it;
// prepare, where not nil, adds indexes to it; handler, where not nil, is told of events.
func NewLazy(kit Kit, find func() cache.SharedIndexInformer, prepare func(cache.SharedIndexInformer) error, handler cache.ResourceEventHandler) *Lazy {
	return &Lazy{kit: kit, find: find, prepare: prepare, handler: handler}
}

// Indexer returns the cache, filled. The first call starts the informer, which runs until
// the ctx of that call is cancelled: it must be the controller's own.
func (l *Lazy) Indexer(ctx context.Context) (cache.Indexer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store == nil {
		if err := l.start(ctx); err != nil {
			return nil, err
		}
	}
	if !l.synced() && !cache.WaitForCacheSync(ctx.Done(), l.synced) {
		return nil, context.Cause(ctx)
	}
	return l.store, nil
}

func (l *Lazy) start(ctx context.Context) error {
	informer := l.find()
	if l.prepare != nil {
		if err := l.prepare(informer); err != nil {
			return err
		}
	}
	handler := l.handler
	if handler == nil {
		handler = cache.ResourceEventHandlerFuncs{}
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("start an informer: %w", err)
	}
	l.kit.Informers.StartWithContext(ctx)
	l.store, l.synced = informer.GetIndexer(), registration.HasSynced
	return nil
}
