package rbac

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/core/follow"
	"github.com/pintle-dev/pintle/core/store"
)

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

// Run reads roles and bindings and follows their changes until ctx ends; it returns nil
// then, or when the store is closed. It is called once.
func (a *Authorizer) Run(ctx context.Context, s follow.Store) error {
	var running, first sync.WaitGroup
	first.Add(len(kinds))
	for _, k := range kinds {
		synced := sync.OnceFunc(first.Done)
		running.Go(func() {
			defer synced()
			follow.Bucket(ctx, s, k.bucket, followed{a, k}, func(uint64) { synced() }, a.log)
		})
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

// followed is what the authorizer keeps of one kind.
type followed struct {
	authorizer *Authorizer
	kind       kind
}

var _ follow.Index = followed{}

// Put implements follow.Index.
func (f followed) Put(key store.Key, data []byte, _ uint64) { f.authorizer.apply(f.kind, key, data) }

// Remove implements follow.Index.
func (f followed) Remove(key store.Key) { f.authorizer.apply(f.kind, key, nil) }

// Keys implements follow.Index.
func (f followed) Keys() []store.Key {
	names := f.authorizer.index.names(f.kind)
	keys := make([]store.Key, len(names))
	for i, n := range names {
		keys[i] = store.Key(f.kind.bucket + "/" + n.namespace + "/" + n.name)
	}
	return keys
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
