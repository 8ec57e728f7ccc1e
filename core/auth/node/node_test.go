package node_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// pods are stored pods by "namespace/name", and other objects by their keys.
type pods map[string]string

func (p pods) Get(_ context.Context, key store.Key) (store.Object, error) {
	data, ok := p[strings.TrimPrefix(string(key), "pods/")]
	if !ok {
		return store.Object{}, store.ErrNotFound
	}
	return store.Object{Data: []byte(data)}, nil
}

func (p pods) List(_ context.Context, prefix store.Key, _ store.ListOptions) (store.Snapshot, error) {
	var s store.Snapshot
	for name, data := range p {
		if strings.HasPrefix("pods/"+name, string(prefix)) {
			s.Objects = append(s.Objects, store.Object{Data: []byte(data)})
		}
	}
	return s, nil
}

func pod(on, spec string) string {
	return fmt.Sprintf(`{"metadata":{"name":"mine"},"spec":{"nodeName":%q,%s},"status":{"resourceClaimStatuses":[{"name":"m","resourceClaimName":"made"}]}}`, on, spec)
}

func TestAuthorize(t *testing.T) {
	s := pods{
		"ns/mine": pod("n1", `"serviceAccountName":"sa","imagePullSecrets":[{"name":"pull"}],
			"volumes":[{"name":"v","secret":{"secretName":"vol"}},{"name":"p","projected":{"sources":[{"configMap":{"name":"proj"}},{"secret":{"name":"projs"}}]}},
				{"name":"c","configMap":{"name":"cm"}},{"name":"d","persistentVolumeClaim":{"claimName":"claim"}},{"name":"eph","ephemeral":{}}],
			"resourceClaims":[{"name":"g","resourceClaimName":"gpu"},{"name":"m"}],
			"initContainers":[{"env":[{"name":"E","valueFrom":{"secretKeyRef":{"name":"init","key":"k"}}}]}],
			"containers":[{"envFrom":[{"configMapRef":{"name":"envcm"}}],"env":[{"name":"E","value":"decoy"}]}]`),
		"ns/mirror":                            `{"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"nodeName":"n1","imagePullSecrets":[{"name":"granted"}]}}`,
		"persistentvolumes//pv":                `{"spec":{"claimRef":{"namespace":"ns","name":"claim"}}}`,
		"persistentvolumes//unbound":           `{"spec":{}}`,
		"resourceslices.resource.k8s.io//s1":   `{"spec":{"nodeName":"n1"}}`,
		"resourceslices.resource.k8s.io//s2":   `{"spec":{"nodeName":"n2"}}`,
		"volumeattachments.storage.k8s.io//a1": `{"spec":{"nodeName":"n1"}}`,
		"ns/theirs":                            pod("n2", `"serviceAccountName":"other","volumes":[{"name":"v","secret":{"secretName":"their"}}]`),
	}
	n1 := resource.User{Name: "system:node:n1", Groups: []string{"system:nodes", "system:authenticated"}}
	for _, c := range []struct {
		user resource.User
		what string // verb resource[/sub][.group] namespace/name
		want bool
	}{
		{n1, "get nodes /n1", true}, {n1, "watch nodes /n1", true}, {n1, "list nodes /", false}, {n1, "get nodes /n2", false}, {n1, "create nodes /", true},
		{n1, "patch nodes/status /n1", true}, {n1, "delete nodes /n1", false},
		{n1, "watch pods /", false}, {n1, "watch pods / spec.nodeName=n1", true}, {n1, "list pods / spec.nodeName=n2", false}, {n1, "list pods / spec.nodeName!=n1", false},
		{n1, "get pods ns/mine", true}, {n1, "get pods ns/theirs", false}, {n1, "get pods ns/gone", true}, {n1, "watch pods ns/mine", true},
		{n1, "create pods ns/", true}, {n1, "patch pods/status ns/mine", true}, {n1, "update pods ns/mine", false}, {n1, "create pods/exec ns/mine", false},
		{n1, "delete pods ns/mine", true}, {n1, "create pods/eviction ns/mine", true},
		{n1, "get persistentvolumes /pv", true}, {n1, "get persistentvolumes /unbound", false}, {n1, "list persistentvolumes /", false},
		{n1, "patch persistentvolumeclaims/status ns/claim", true}, {n1, "patch persistentvolumeclaims/status ns/other", false}, {n1, "get persistentvolumeclaims ns/mine-eph", true},
		{n1, "get resourceclaims.resource.k8s.io ns/gpu", true}, {n1, "get resourceclaims.resource.k8s.io ns/made", true}, {n1, "get resourceclaims.resource.k8s.io ns/theirs", false},
		{n1, "update resourceslices.resource.k8s.io /s1", true}, {n1, "update resourceslices.resource.k8s.io /s2", false}, {n1, "list resourceslices.resource.k8s.io /", false},
		{n1, "deletecollection resourceslices.resource.k8s.io / spec.nodeName=n1", true}, {n1, "create resourceslices.resource.k8s.io /", true},
		{n1, "get volumeattachments.storage.k8s.io /a1", true}, {n1, "get volumeattachments.storage.k8s.io /none", false},
		{n1, "get secrets ns/granted", false}, // by a mirror pod
		{n1, "get secrets ns/vol", true}, {n1, "get secrets ns/pull", true}, {n1, "get secrets ns/projs", true}, {n1, "watch secrets ns/init", true},
		{n1, "get secrets ns/their", false}, {n1, "get secrets ns/decoy", false}, {n1, "get secrets other/vol", false},
		{n1, "list secrets ns/", false}, {n1, "update secrets ns/vol", false}, {n1, "get secrets ns/cm", false},
		{n1, "get configmaps ns/cm", true}, {n1, "get configmaps ns/proj", true}, {n1, "get configmaps ns/envcm", true}, {n1, "get configmaps ns/vol", false},
		{n1, "get persistentvolumeclaims ns/claim", true}, {n1, "list persistentvolumeclaims ns/", false},
		{n1, "create serviceaccounts/token ns/sa", true}, {n1, "create serviceaccounts/token ns/other", false},
		{n1, "create leases.coordination.k8s.io kube-node-lease/", true}, {n1, "update leases.coordination.k8s.io kube-node-lease/n1", true},
		{n1, "update leases.coordination.k8s.io kube-node-lease/n2", false}, {n1, "create leases.coordination.k8s.io kube-system/", false},
		{n1, "create events ns/", true}, {n1, "create subjectaccessreviews.authorization.k8s.io /", true},
		{n1, "get deployments.apps ns/x", false},
		{resource.User{Name: "system:node:n1"}, "get nodes /n1", false},                                 // not in the group
		{resource.User{Name: "system:node:", Groups: []string{"system:nodes"}}, "get nodes /n1", false}, // no name
		{resource.User{Name: "jane", Groups: []string{"system:nodes"}}, "get nodes /n1", false},
	} {
		t.Run(c.user.Name+" "+c.what, func(t *testing.T) {
			f := strings.Fields(c.what)
			at := auth.Attributes{User: c.user, Verb: f[0]}
			at.Resource, at.Group, _ = strings.Cut(f[1], ".")
			at.Resource, at.Subresource, _ = strings.Cut(at.Resource, "/")
			at.Namespace, at.Name, _ = strings.Cut(f[2], "/")
			if len(f) > 3 {
				at.FieldSelector = f[3]
			}
			a := node.New(s)
			for range 2 { // the second time from the cache
				ok, reason, err := a.Authorize(t.Context(), at)
				if ok != c.want || err != nil {
					t.Errorf("%v %q %v, want %v", ok, reason, err, c.want)
				}
			}
		})
	}
}
