package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/sdk/admission"
)

// The four kinds, by their resources.
const (
	validatingPolicies = "validatingadmissionpolicies"
	validatingBindings = "validatingadmissionpolicybindings"
	mutatingPolicies   = "mutatingadmissionpolicies"
	mutatingBindings   = "mutatingadmissionpolicybindings"
)

// family is the policies of one sort with their bindings.
type family struct {
	log *slog.Logger
	// followed are the bucket of the policies and that of the bindings.
	followed [2]*follow.Bucket
	// changed is called after changes; it may be nil.
	changed func()

	mu       sync.Mutex
	policies map[string]*policy
	bindings map[string]*binding
	// taken says which buckets have been read.
	taken [2]bool

	// rules are what is in force; nil until both buckets have been read.
	rules atomic.Pointer[[]*rule]
	ready chan struct{}
}

// rule is a policy with its bindings, of which it has at least one.
type rule struct {
	*policy
	bindings []*binding
}

func newFamily(policies, bindings string, decodePolicy func([]byte) (*policy, error), decodeBinding func([]byte) (*binding, error), log *slog.Logger) *family {
	f := &family{log: log, policies: map[string]*policy{}, bindings: map[string]*binding{}, ready: make(chan struct{})}
	const group = "." + admissionregistrationv1.GroupName
	f.followed[0] = follow.New(policies+group, func(changes []follow.Change) {
		f.take(0, changes, func(name string, data []byte) error {
			now, err := decodePolicy(data)
			if err == nil {
				f.policies[name] = keep(f.policies[name], now)
			}
			return err
		}, func(name string) { delete(f.policies, name) })
	}, log)
	f.followed[1] = follow.New(bindings+group, func(changes []follow.Change) {
		f.take(1, changes, func(name string, data []byte) error {
			now, err := decodeBinding(data)
			if err == nil {
				f.bindings[name] = now
			}
			return err
		}, func(name string) { delete(f.bindings, name) })
	}, log)
	return f
}

func (f *family) buckets() []*follow.Bucket { return f.followed[:] }

// take takes changes of one bucket over. What can't be read is not in force.
func (f *family) take(bucket int, changes []follow.Change, put func(name string, data []byte) error, remove func(name string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		name := strings.TrimPrefix(c.Name, "/")
		if c.Data == nil {
			remove(name)
			continue
		}
		if err := put(name, c.Data); err != nil {
			f.log.Error("a stored object of admission can't be read and is not in force", "name", name, "error", err)
			remove(name)
		}
	}
	f.taken[bucket] = true
	if f.taken[0] && f.taken[1] {
		if f.rules.Swap(join(f.policies, f.bindings)) == nil {
			close(f.ready)
		}
	}
	if f.changed != nil {
		f.changed()
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

func (f *family) idle() bool {
	rules := f.rules.Load()
	return rules != nil && len(*rules) == 0
}

// readyTimeout is how long a request waits for the policies to be read.
const readyTimeout = 10 * time.Second

// current returns the policies that a request may be matched by.
func (f *family) current(ctx context.Context, r *admission.Request) ([]*rule, error) {
	if exempt(r) {
		return nil, nil
	}
	if rules := f.rules.Load(); rules != nil {
		return *rules, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case <-f.ready:
		return *f.rules.Load(), nil
	case <-ctx.Done():
		status, err := refused(r, "not yet ready to handle request")
		if err != nil {
			return nil, err
		}
		return nil, status
	}
}

func decodeValidating(data []byte) (*policy, error) {
	var o admissionregistrationv1.ValidatingAdmissionPolicy
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return newValidatingPolicy(&o), nil
}

func decodeMutating(data []byte) (*policy, error) {
	var o admissionregistrationv1.MutatingAdmissionPolicy
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return newMutatingPolicy(&o), nil
}

func decodeValidatingBinding(data []byte) (*binding, error) {
	var o admissionregistrationv1.ValidatingAdmissionPolicyBinding
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return newBinding(o.Name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources, o.Spec.ValidationActions), nil
}

func decodeMutatingBinding(data []byte) (*binding, error) {
	var o admissionregistrationv1.MutatingAdmissionPolicyBinding
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return newBinding(o.Name, o.Spec.PolicyName, o.Spec.ParamRef, o.Spec.MatchResources, nil), nil
}
