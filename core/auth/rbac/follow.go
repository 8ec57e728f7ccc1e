package rbac

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/core/store"
)

// Store is what the index is kept from; *store.Store implements it.
type Store interface {
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
}

// kind is one of the four kinds of objects that decisions are made by.
type kind struct {
	bucket           string
	binding, cluster bool
}

var kinds = []kind{
	{bucket: "roles.rbac.authorization.k8s.io"},
	{bucket: "clusterroles.rbac.authorization.k8s.io", cluster: true},
	{bucket: "rolebindings.rbac.authorization.k8s.io", binding: true},
	{bucket: "clusterrolebindings.rbac.authorization.k8s.io", binding: true, cluster: true},
}

// retryDelay is the pause after a failed read of the store.
const retryDelay = 200 * time.Millisecond

// Run reads roles and bindings and follows their changes until ctx ends; it returns nil
// then, or when the store is closed. It is called once.
func (a *Authorizer) Run(ctx context.Context, s Store) error {
	var running, first sync.WaitGroup
	first.Add(len(kinds))
	for _, k := range kinds {
		running.Go(func() { a.follow(ctx, s, k, sync.OnceFunc(first.Done)) })
	}
	done := make(chan struct{})
	go func() { first.Wait(); close(done) }()
	select {
	case <-done:
		if ctx.Err() == nil {
			close(a.ready)
		}
	case <-ctx.Done():
	}
	running.Wait()
	return nil
}

// follow keeps one kind up to date. It calls first when the kind has been read, or when
// it gives up.
func (a *Authorizer) follow(ctx context.Context, s Store, k kind, first func()) {
	defer first()
	for ctx.Err() == nil {
		err := a.read(ctx, s, k, first)
		switch {
		case errors.Is(err, store.ErrCompacted):
			continue // history is gone: read everything again
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return
		}
		a.log.Warn("following RBAC objects failed; trying again", "bucket", k.bucket, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}

// read lists a kind and then applies its events until one can't be had.
func (a *Authorizer) read(ctx context.Context, s Store, k kind, first func()) error {
	prefix := store.Key(k.bucket + "/")
	list, err := s.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", k.bucket, err)
	}
	present := make(map[scopedName]bool, len(list.Objects))
	for _, o := range list.Objects {
		present[nameOf(o.Key)] = true
		a.apply(k, o.Key, o.Data)
	}
	for _, name := range a.index.names(k) {
		if !present[name] {
			a.apply(k, store.Key(k.bucket+"/"+name.namespace+"/"+name.name), nil)
		}
	}
	first()
	w, err := s.Watch(ctx, prefix, list.Revision)
	if err != nil {
		return fmt.Errorf("watch %s: %w", k.bucket, err)
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", k.bucket, err)
		}
		for _, e := range events {
			data := e.Data
			if e.Type == store.Deleted {
				data = nil
			}
			a.apply(k, e.Key, data)
		}
	}
}

// apply puts one object into the index; nil data removes it. An object that can't be read
// grants nothing.
func (a *Authorizer) apply(k kind, key store.Key, data []byte) {
	name := nameOf(key)
	var err error
	switch {
	case k.binding && data == nil:
		a.index.setBinding(name, nil)
	case k.binding:
		b := &rbacv1.RoleBinding{} // a ClusterRoleBinding has the same fields
		if err = json.Unmarshal(data, b); err != nil {
			b = nil
		}
		a.index.setBinding(name, keep(b))
	case data == nil:
		err = a.index.setRole(name, nil, nil)
	default:
		r := &rbacv1.ClusterRole{} // a Role has the same fields but one
		if err = json.Unmarshal(data, r); err != nil {
			_ = a.index.setRole(name, nil, nil) // removing can't fail
			break
		}
		err = a.index.setRole(name, &role{labels: r.Labels, rules: r.Rules}, r.AggregationRule)
	}
	if err != nil {
		a.log.Error("an RBAC object can't be read and grants less than it says", "key", string(key), "error", err)
	}
	if k.cluster && !k.binding {
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
}

// keep drops what is not decided by.
func keep(b *rbacv1.RoleBinding) *rbacv1.RoleBinding {
	if b == nil {
		return nil
	}
	return &rbacv1.RoleBinding{Subjects: b.Subjects, RoleRef: b.RoleRef}
}

func nameOf(key store.Key) scopedName {
	_, rest, _ := strings.Cut(string(key), "/")
	namespace, name, _ := strings.Cut(rest, "/")
	return scopedName{namespace, name}
}
