package host

import (
	"context"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// secrets follows the Secrets that settings come from, and no others. Where there are none
// nothing is followed.
type secrets struct {
	client  dynamic.Interface
	changed func(plugin string)

	mu sync.Mutex
	of map[string]*secret // by namespace/name
}

type secret struct {
	store  cache.Store
	synced cache.InformerSynced
	users  []string // plugins
	end    context.CancelFunc
}

// follow makes the Secrets of these references known, as long as the plugin names them.
func (s *secrets) follow(ctx, life context.Context, plugin string, refs []SecretKeyRef) error {
	var wait []cache.InformerSynced
	s.mu.Lock()
	named := map[string]bool{}
	for _, ref := range refs {
		name := ref.secret()
		named[name] = true
		one := s.of[name]
		if one == nil {
			one = s.begin(life, ref)
			if s.of == nil {
				s.of = map[string]*secret{}
			}
			s.of[name] = one
		}
		if !slices.Contains(one.users, plugin) {
			one.users = append(one.users, plugin)
		}
		wait = append(wait, one.synced)
	}
	for name, one := range s.of {
		if at := slices.Index(one.users, plugin); at >= 0 && !named[name] {
			if one.users = slices.Delete(one.users, at, at+1); len(one.users) == 0 {
				one.end()
				delete(s.of, name)
			}
		}
	}
	s.mu.Unlock()
	if len(wait) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), wait...) {
		return fmt.Errorf("the Secrets that its settings come from can't be read: %w", ctx.Err())
	}
	return nil
}

// begin follows one Secret. The lock is held.
func (s *secrets) begin(life context.Context, ref SecretKeyRef) *secret {
	life, end := context.WithCancel(life)
	informer := dynamicinformer.NewFilteredDynamicInformer(s.client, schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, ref.Namespace, 0, cache.Indexers{},
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", ref.Name).String()
		}).Informer()
	tell := func(any) {
		s.mu.Lock()
		one := s.of[ref.secret()]
		var users []string
		if one != nil {
			users = slices.Clone(one.users)
		}
		s.mu.Unlock()
		for _, plugin := range users {
			s.changed(plugin)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // it has not been started
		AddFunc: tell, UpdateFunc: func(_, o any) { tell(o) }, DeleteFunc: tell,
	})
	go informer.RunWithContext(life)
	return &secret{store: informer.GetStore(), synced: informer.HasSynced, end: end}
}

// get is a Secret by namespace/name, nil where it is not there.
func (s *secrets) get(name string) *unstructured.Unstructured {
	s.mu.Lock()
	one := s.of[name]
	s.mu.Unlock()
	if one == nil {
		return nil
	}
	o, _, _ := one.store.GetByKey(name)
	u, _ := o.(*unstructured.Unstructured)
	return u
}
