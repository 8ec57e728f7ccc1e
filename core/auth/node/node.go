package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/fields"

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

// rules by resource, subresource and group. What depends on the body of a write is
// Restriction's to say.
var rules = map[string][]verbRule{
	"nodes":                         {{read, ownNode}, {[]string{"create", "update", "patch"}, always}},
	"nodes/status":                  {{[]string{"get"}, ownNode}, {change, always}},
	"pods":                          {{read, readPod}, {[]string{"create", "delete"}, always}},
	"pods/status":                   {{[]string{"get"}, readPod}, {change, always}},
	"pods/eviction":                 {{[]string{"create"}, always}},
	"events":                        {{append([]string{"create"}, change...), always}},
	"events.events.k8s.io":          {{append([]string{"create"}, change...), always}},
	"services":                      {{read, always}},
	"endpoints":                     {{[]string{"get"}, always}},
	"secrets":                       {{read, usedByPod}},
	"configmaps":                    {{read, usedByPod}},
	"serviceaccounts":               {{[]string{"get"}, usedByPod}},
	"serviceaccounts/token":         {{[]string{"create"}, usedByPod}},
	"persistentvolumeclaims":        {{[]string{"get"}, usedByPod}},
	"persistentvolumeclaims/status": {{change, usedByPod}},
	"persistentvolumes":             {{[]string{"get"}, boundVolume}},
	"leases.coordination.k8s.io": {
		{[]string{"create"}, leaseNamespace},
		{[]string{"get", "update", "patch", "delete"}, ownLease},
	},
	"csinodes.storage.k8s.io": {
		{[]string{"create"}, always},
		{[]string{"get", "update", "patch", "delete"}, ownCSINode},
	},
	"csidrivers.storage.k8s.io":        {{read, always}},
	"volumeattachments.storage.k8s.io": {{[]string{"get"}, ofNode("volumeattachments.storage.k8s.io", "spec.nodeName")}},
	"runtimeclasses.node.k8s.io":       {{read, always}},
	"resourceclaims.resource.k8s.io":   {{[]string{"get"}, usedByPod}},
	"resourceslices.resource.k8s.io": {
		{[]string{"create"}, always},
		{[]string{"get", "update", "patch", "delete"}, ofNode("resourceslices.resource.k8s.io", "spec.nodeName")},
		{[]string{"list", "watch", "deletecollection"}, selected("resourceslices", "spec.nodeName")},
	},
	"clustertrustbundles.certificates.k8s.io":        {{read, always}},
	"certificatesigningrequests.certificates.k8s.io": {{append([]string{"create"}, read...), always}},
	"tokenreviews.authentication.k8s.io":             {{[]string{"create"}, always}},
	"subjectaccessreviews.authorization.k8s.io":      {{[]string{"create"}, always}},
	"localsubjectaccessreviews.authorization.k8s.io": {{[]string{"create"}, always}},
}

func always(context.Context, *Authorizer, *request) (bool, string, error) { return true, "", nil }

// ownNode allows to read the agent's own Node, which need not be there yet.
func ownNode(_ context.Context, _ *Authorizer, r *request) (bool, string, error) {
	switch r.Name {
	case r.node:
		return true, "", nil
	case "":
		return false, fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", r.node), nil
	}
	return false, fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", r.node, r.Name), nil
}

// leaseNS holds the leases of nodes.
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
	if r.Name == r.node {
		return true, "", nil
	}
	return false, "can only access node lease with the same name as the requesting node", nil
}

func ownCSINode(_ context.Context, _ *Authorizer, r *request) (bool, string, error) {
	if r.Name == r.node {
		return true, "", nil
	}
	return false, "can only access CSINode with the same name as the requesting node", nil
}

// selects reports whether a request is narrowed to what a field says is the node's.
func (r *request) selects(field string) bool {
	s, err := fields.ParseSelector(r.FieldSelector)
	if err != nil {
		return false
	}
	value, ok := s.RequiresExactMatch(field)
	return ok && value == r.node
}

func selected(what, field string) rule {
	return func(_ context.Context, _ *Authorizer, r *request) (bool, string, error) {
		if r.selects(field) {
			return true, "", nil
		}
		return false, fmt.Sprintf("can only list/watch/deletecollection %s with nodeName field selector", what), nil
	}
}

// ofNode allows what concerns an object with the node's name in a field.
func ofNode(bucket, field string) rule {
	return func(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
		name, err := a.field(ctx, bucket, "", r.Name, field)
		if err != nil {
			return false, "", err
		}
		if name == r.node && name != "" {
			return true, "", nil
		}
		return false, noRelation(r), nil
	}
}

func noRelation(r *request) string {
	return fmt.Sprintf("no relationship found between node '%s' and this object", r.node)
}

// field of a stored object, "" where there is no such object.
func (a *Authorizer) field(ctx context.Context, bucket, namespace, name, path string) (string, error) {
	o, err := a.store.Get(ctx, store.Key(bucket+"/"+namespace+"/"+name))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s %s/%s: %w", bucket, namespace, name, err)
	}
	return gjson.GetBytes(o.Data, path).String(), nil
}

// readPod allows to read the pods of the node. A pod that is gone is allowed, too: the answer
// is then 404 and not 403, which an agent must tell apart.
func readPod(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
	if r.Verb != "get" && r.selects("spec.nodeName") {
		return true, "", nil
	}
	if r.Name == "" || r.Namespace == "" {
		return false, "can only list/watch pods with spec.nodeName field selector", nil
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
	return false, noRelation(r), nil
}

// boundVolume allows to read a volume that is bound to a claim that a pod of the node uses.
func boundVolume(ctx context.Context, a *Authorizer, r *request) (bool, string, error) {
	if r.Name == "" {
		return false, "No Object name found", nil
	}
	o, err := a.store.Get(ctx, store.Key("persistentvolumes//"+r.Name))
	if errors.Is(err, store.ErrNotFound) {
		return false, noRelation(r), nil
	}
	if err != nil {
		return false, "", fmt.Errorf("read persistent volume %s: %w", r.Name, err)
	}
	claim := gjson.GetManyBytes(o.Data, "spec.claimRef.namespace", "spec.claimRef.name")
	of := *r
	of.Resource, of.Namespace, of.Name = "persistentvolumeclaims", claim[0].String(), claim[1].String()
	if of.Name == "" {
		return false, noRelation(r), nil
	}
	return usedByPod(ctx, a, &of)
}
