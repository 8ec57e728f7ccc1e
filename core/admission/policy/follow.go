package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/pintle-dev/pintle/core/store"
)

// Store is what policies are kept from; *store.Store implements it.
type Store interface {
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
	Watch(ctx context.Context, prefix store.Key, after uint64) (*store.Watcher, error)
}

// bucket is one of the four kinds.
type bucket int

const (
	validatingPolicies bucket = iota
	validatingBindings
	mutatingPolicies
	mutatingBindings
	bucketCount
)

var resources = [bucketCount]string{
	"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
}

func (b bucket) prefix() store.Key {
	return store.Key(resources[b] + "." + admissionregistrationv1.GroupName + "/")
}

// index is what is stored of one kind.
type index struct {
	policies map[string]*policy
	bindings map[string]*binding
}

// retryDelay is the pause after a failed read of the store.
const retryDelay = 200 * time.Millisecond

// Run reads policies and bindings and follows their changes until ctx ends; it returns nil
// then, or when the store is closed. It is called once.
func (p *Policies) Run(ctx context.Context, s Store) error {
	var running, first sync.WaitGroup
	first.Add(int(bucketCount))
	for b := range bucketCount {
		running.Go(func() { p.follow(ctx, s, b, sync.OnceFunc(first.Done)) })
	}
	first.Wait()
	if ctx.Err() == nil {
		close(p.ready)
	}
	running.Wait()
	return nil
}

// follow keeps one kind up to date. It calls first when the kind has been read, or when
// it gives up.
func (p *Policies) follow(ctx context.Context, s Store, b bucket, first func()) {
	defer first()
	for ctx.Err() == nil {
		err := p.readAll(ctx, s, b, first)
		if p.read[b] {
			// Nobody is to wait for events that are not read now.
			p.change(b, nil, func() {})
		}
		switch {
		case errors.Is(err, store.ErrCompacted):
			continue // history is gone: read everything again
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return
		}
		p.log.Warn("following admission policies failed; trying again", "resource", resources[b], "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}

// readAll lists a kind and then applies its events until one can't be had.
func (p *Policies) readAll(ctx context.Context, s Store, b bucket, first func()) error {
	list, err := s.List(ctx, b.prefix(), store.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", resources[b], err)
	}
	w, err := s.Watch(ctx, b.prefix(), list.Revision)
	if err != nil {
		return fmt.Errorf("watch %s: %w", resources[b], err)
	}
	defer w.Close()
	p.change(b, nil, func() {
		p.read[b] = true
		before := p.indexed[b]
		p.indexed[b] = &index{policies: map[string]*policy{}, bindings: map[string]*binding{}}
		for _, o := range list.Objects {
			p.apply(b, nameOf(o.Key), o.Data, before)
		}
	})
	first()
	for {
		// Taken before looking, so that no event can come between.
		ready := w.Ready()
		events, err := w.Poll(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", resources[b], err)
		}
		if len(events) > 0 {
			p.change(b, p.behind[b], func() {
				for _, e := range events {
					if e.Type == store.Deleted {
						delete(p.indexed[b].policies, nameOf(e.Key))
						delete(p.indexed[b].bindings, nameOf(e.Key))
						continue
					}
					p.apply(b, nameOf(e.Key), e.Data, p.indexed[b])
				}
			})
			continue
		}
		p.change(b, ready, func() {})
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the caller only looks whether it has ended
		}
	}
}

// change changes what is indexed of a kind and makes it what is in force. behind is closed
// when there is more to read.
func (p *Policies) change(b bucket, behind <-chan struct{}, change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.behind[b] = behind
	p.publish()
	if b == validatingPolicies {
		select {
		case p.written <- struct{}{}:
		default:
		}
	}
}

// publish is called with mu held.
func (p *Policies) publish() {
	before := p.updated
	p.updated = make(chan struct{})
	p.state.Store(&state{
		validating: rules(p.indexed[validatingPolicies].policies, p.indexed[validatingBindings].bindings),
		mutating:   rules(p.indexed[mutatingPolicies].policies, p.indexed[mutatingBindings].bindings),
		behind:     p.behind, updated: p.updated,
	})
	close(before)
}

// apply indexes one object. What can't be read is not in force.
func (p *Policies) apply(b bucket, name string, data []byte, before *index) {
	var err error
	switch b {
	case validatingPolicies:
		o := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		if err = json.Unmarshal(data, o); err == nil {
			p.indexed[b].policies[name] = keep(before.policies[name], newValidatingPolicy(o))
		}
	case mutatingPolicies:
		o := &admissionregistrationv1.MutatingAdmissionPolicy{}
		if err = json.Unmarshal(data, o); err == nil {
			p.indexed[b].policies[name] = keep(before.policies[name], newMutatingPolicy(o))
		}
	case validatingBindings:
		o := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		if err = json.Unmarshal(data, o); err == nil {
			p.indexed[b].bindings[name] = newBinding(name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources, o.Spec.ValidationActions)
		}
	case mutatingBindings:
		o := &admissionregistrationv1.MutatingAdmissionPolicyBinding{}
		if err = json.Unmarshal(data, o); err == nil {
			p.indexed[b].bindings[name] = newBinding(name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources, nil)
		}
	}
	if err != nil {
		p.log.Error("a stored object of admission can't be read and is not enforced", "resource", resources[b], "name", name, "error", err)
		delete(p.indexed[b].policies, name)
		delete(p.indexed[b].bindings, name)
	}
}

// keep returns the policy that is there where the new one differs in nothing that is
// compiled, as after a change of its status.
func keep(before, now *policy) *policy {
	if before != nil && before.uid == now.uid && before.generation == now.generation && now.generation != 0 {
		before.observed = now.observed
		return before
	}
	return now
}

func nameOf(key store.Key) string { return string(key[strings.LastIndexByte(string(key), '/')+1:]) }
