package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/cache"
	"github.com/pintle-dev/pintle/core/store"
)

// Store has the pods; *store.Store implements it.
type Store interface {
	Get(ctx context.Context, key store.Key) (store.Object, error)
	List(ctx context.Context, prefix store.Key, opts store.ListOptions) (store.Snapshot, error)
}

// Authorizer decides about requests of node agents and has no opinion on others.
type Authorizer struct {
	store Store
	now   func() time.Time
	// related keeps what was found to be used by a pod of a node. Nothing stands ready
	// for this question: agents ask it seldom, and looking through the pods of one
	// namespace then costs less than following all pods of the cluster always.
	related *cache.Cache[relation, struct{}]
}

var _ auth.Authorizer = (*Authorizer)(nil)

// relatedTTL is how long a node may still read what its last pod has stopped using.
const relatedTTL = time.Minute

// New returns an Authorizer.
func New(s Store) *Authorizer {
	return &Authorizer{store: s, now: time.Now, related: cache.New[relation, struct{}](8192)}
}

// Name returns the node whose agent a user is.
func Name(name string, groups []string) (string, bool) {
	node, ok := strings.CutPrefix(name, auth.NodeUserPrefix)
	return node, ok && node != "" && slices.Contains(groups, auth.NodesGroup)
}

// request is what rules are about.
type request struct {
	auth.Attributes
	node string
}

// rule says yes, or why not.
type rule func(ctx context.Context, a *Authorizer, r *request) (bool, string, error)

// Authorize implements auth.Authorizer.
func (a *Authorizer) Authorize(ctx context.Context, at auth.Attributes) (bool, string, error) {
	node, ok := Name(at.User.Name, at.User.Groups)
	if !ok || at.Resource == "" {
		return false, "", nil
	}
	id := at.Resource
	if at.Subresource != "" {
		id += "/" + at.Subresource
	}
	if at.Group != "" {
		id += "." + at.Group
	}
	verbs, ok := rules[id]
	if !ok {
		return false, "", nil
	}
	for _, v := range verbs {
		if slices.Contains(v.verbs, at.Verb) {
			return v.rule(ctx, a, &request{at, node})
		}
	}
	return false, fmt.Sprintf("node agents can't %s %s", at.Verb, id), nil
}

type verbRule struct {
	verbs []string
	rule  rule
}

var (
	read   = []string{"get", "list", "watch"}
	change = []string{"update", "patch"}
)

// rules by resource, subresource and group.
var rules = map[string][]verbRule{
	"nodes":        {{read, always}, {[]string{"create"}, always}, {change, ownName}},
	"nodes/status": {{[]string{"get"}, always}, {change, ownName}},
	// A node makes no pods: a pod of its choice could carry any service account.
	"pods":                   {{read, always}, {[]string{"delete"}, ownPod}},
	"pods/status":            {{[]string{"get"}, always}, {change, ownPod}},
	"pods/eviction":          {{[]string{"create"}, ownPod}},
	"events":                 {{append([]string{"create"}, change...), always}},
	"events.events.k8s.io":   {{append([]string{"create"}, change...), always}},
	"services":               {{read, always}},
	"endpoints":              {{[]string{"get"}, always}},
	"secrets":                {{read, usedByPod}},
	"configmaps":             {{read, usedByPod}},
	"serviceaccounts":        {{[]string{"get"}, usedByPod}},
	"serviceaccounts/token":  {{[]string{"create"}, usedByPod}},
	"persistentvolumeclaims": {{[]string{"get"}, usedByPod}},
	"persistentvolumes":      {{[]string{"get"}, always}},
	"leases.coordination.k8s.io": {
		{[]string{"create"}, leaseNamespace},
		{[]string{"get", "update", "patch", "delete"}, ownLease},
	},
	"csinodes.storage.k8s.io": {
		{[]string{"create"}, always},
		{[]string{"get", "update", "patch", "delete"}, ownName},
	},
	"csidrivers.storage.k8s.io":                      {{read, always}},
	"volumeattachments.storage.k8s.io":               {{[]string{"get"}, always}},
	"runtimeclasses.node.k8s.io":                     {{read, always}},
	"resourceclaims.resource.k8s.io":                 {{[]string{"get"}, always}},
	"clustertrustbundles.certificates.k8s.io":        {{read, always}},
	"certificatesigningrequests.certificates.k8s.io": {{append([]string{"create"}, read...), always}},
	"tokenreviews.authentication.k8s.io":             {{[]string{"create"}, always}},
	"subjectaccessreviews.authorization.k8s.io":      {{[]string{"create"}, always}},
	"localsubjectaccessreviews.authorization.k8s.io": {{[]string{"create"}, always}},
}

func always(context.Context, *Authorizer, *request) (bool, string, error) { return true, "", nil }

func ownName(_ context.Context, _ *Authorizer, r *request) (bool, string, error) {
	if r.Name == r.node {
		return true, "", nil
	}
	return false, fmt.Sprintf("node %q can only %s %s of its own name", r.node, r.Verb, r.Resource), nil
}

// leaseNamespace holds the leases of nodes.
const leaseNS = "kube-node-lease"

func leaseNamespace(_ context.Context, _ *Authorizer, r *request) (bool, string, error) {
	if r.Namespace == leaseNS {
		return true, "", nil
	}
	return false, fmt.Sprintf("can only access leases in the %q system namespace", leaseNS), nil
}

func ownLease(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
	if ok, why, err := leaseNamespace(ctx, a, r); !ok {
		return false, why, err
	}
	return ownName(ctx, a, r)
}

// ownPod allows what concerns a pod that is bound to the node. A pod that is gone is
// allowed too: the answer is then 404 and not 403, which an agent must tell apart.
func ownPod(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
	if r.Name == "" || r.Namespace == "" {
		return false, "only single pods", nil
	}
	o, err := a.store.Get(ctx, store.Key("pods/"+r.Namespace+"/"+r.Name))
	if errors.Is(err, store.ErrNotFound) {
		return true, "", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("read pod %s/%s: %w", r.Namespace, r.Name, err)
	}
	if gjson.GetBytes(o.Data, "spec.nodeName").String() == r.node {
		return true, "", nil
	}
	return false, fmt.Sprintf("pod %s/%s is not bound to node %q", r.Namespace, r.Name, r.node), nil
}
