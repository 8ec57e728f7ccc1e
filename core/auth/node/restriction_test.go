package node_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/node"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// objects by "resource/namespace/name", as YAML.
type objects map[string]string

func (o objects) Get(_ context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	return tree(o[gr.String()+"/"+namespace+"/"+name]), nil
}

func (o objects) List(context.Context, schema.GroupResource, string) ([]map[string]any, error) {
	return nil, nil
}

func tree(text string) map[string]any {
	if text == "" {
		return nil
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	return m
}

func csr(t *testing.T, cn string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}}, key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

const mirror = `{metadata: {name: m, annotations: {kubernetes.io/config.mirror: x}, ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: u1, controller: true}]}, spec: {nodeName: n1`

func TestRestriction(t *testing.T) {
	world := objects{
		"nodes//n1":                       `{metadata: {name: n1, uid: u1}}`,
		"pods/ns/mine":                    `{metadata: {name: mine, namespace: ns, uid: p1}, spec: {nodeName: n1, volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}, {serviceAccountToken: {audience: vault}}]}}, {name: c, persistentVolumeClaim: {claimName: claim}}]}}`,
		"pods/ns/theirs":                  `{metadata: {name: theirs, namespace: ns, uid: p2}, spec: {nodeName: n2}}`,
		"persistentvolumeclaims/ns/claim": `{spec: {volumeName: pv}}`,
		"persistentvolumes//pv":           `{spec: {csi: {driver: d.io}}}`,
		"csidrivers.storage.k8s.io//d.io": `{spec: {tokenRequests: [{audience: driver}]}}`,
	}
	token := func(ref, audiences string) string {
		return `{spec: {boundObjectRef: {apiVersion: v1, kind: Pod, ` + ref + `}, audiences: [` + audiences + `]}}`
	}
	for _, c := range []struct {
		what              string // operation resource[/sub][.group] namespace/name
		object, old, want string
	}{
		{"CREATE nodes /", `{metadata: {name: n1, labels: {kubernetes.io/hostname: n1, x: y, node.kubernetes.io/a: b}}}`, "", ""},
		{"CREATE nodes /", `{metadata: {name: n2}}`, "", `node "n1" is not allowed to modify node "n2"`},
		{"CREATE nodes /", `{metadata: {name: n1, labels: {node-role.kubernetes.io/master: "", x.node-restriction.kubernetes.io/a: b}}}`, "", `not allowed to set the following labels: node-role.kubernetes.io/master, x.node-restriction.kubernetes.io/a`},
		{"CREATE nodes /", `{metadata: {name: n1}, spec: {configSource: {}}}`, "", "configSource"},
		{"UPDATE nodes /n2", `{}`, `{}`, `node "n1" is not allowed to modify node "n2"`},
		{"UPDATE nodes/status /n2", `{}`, `{}`, `not allowed to modify node "n2"`},
		{"UPDATE nodes/status /n1", `{status: {phase: x}}`, `{}`, ""},
		{"UPDATE nodes /n1", `{spec: {taints: []}}`, `{}`, ""},
		{"UPDATE nodes /n1", `{}`, `{spec: {taints: [{key: a, effect: NoSchedule}]}}`, `node "n1" is not allowed to modify taints`},
		{"UPDATE nodes /n1", `{metadata: {ownerReferences: [{name: a}]}}`, `{}`, "not allowed to modify ownerReferences"},
		{"UPDATE nodes /n1", `{metadata: {labels: {a: b}}}`, `{metadata: {labels: {node-role.kubernetes.io/x: ""}}}`, "is not allowed to modify labels: node-role.kubernetes.io/x"},
		{"UPDATE nodes /n1", `{metadata: {labels: {node-role.kubernetes.io/x: "", z: a}}}`, `{metadata: {labels: {node-role.kubernetes.io/x: ""}}}`, ""},

		{"CREATE pods ns/", mirror + `, containers: [{name: a}], volumes: [{name: e, emptyDir: {}}]}}`, "", ""},
		{"CREATE pods ns/", `{metadata: {name: m}, spec: {nodeName: n1}}`, "", `pod does not have "kubernetes.io/config.mirror" annotation`},
		{"CREATE pods ns/", strings.Replace(mirror, "nodeName: n1", "nodeName: n2", 1) + `}}`, "", "spec.nodeName set to itself"},
		{"CREATE pods ns/", strings.Replace(mirror, "name: n1, uid", "name: n2, uid", 1) + `}}`, "", "an owner reference set to itself"},
		{"CREATE pods ns/", strings.Replace(mirror, "controller: true", "controller: false", 1) + `}}`, "", "a controller owner reference"},
		{"CREATE pods ns/", strings.Replace(mirror, "uid: u1", "uid: u9", 1) + `}}`, "", "UID mismatch: expected u9 got u1"},
		{"CREATE pods ns/", strings.Replace(mirror, "controller: true", "controller: true, blockOwnerDeletion: true", 1) + `}}`, "", "must not set blockOwnerDeletion"},
		{"CREATE pods ns/", mirror + `, serviceAccountName: sa}}`, "", `node "n1" can not create pods that reference serviceaccounts`},
		{"CREATE pods ns/", mirror + `, volumes: [{name: s, secret: {secretName: s}}]}}`, "", "reference secrets"},
		{"CREATE pods ns/", mirror + `, containers: [{name: c, envFrom: [{configMapRef: {name: x}}]}]}}`, "", "reference configmaps"},
		{"CREATE pods ns/", mirror + `, volumes: [{name: p, projected: {sources: [{serviceAccountToken: {path: x}}]}}]}}`, "", "reference serviceaccounts (via projected volumes)"},
		{"CREATE pods ns/", mirror + `, volumes: [{name: p, persistentVolumeClaim: {claimName: x}}]}}`, "", "reference persistentvolumeclaims"},
		{"DELETE pods ns/theirs", "", `{spec: {nodeName: n2}}`, "can only delete pods with spec.nodeName set to itself"},
		{"DELETE pods ns/mine", "", `{spec: {nodeName: n1}}`, ""},
		{"UPDATE pods ns/mine", `{}`, `{spec: {nodeName: n1}}`, "can only create and delete mirror pods"},
		{"UPDATE pods/status ns/mine", `{spec: {nodeName: n1}, status: {phase: Running}}`, `{spec: {nodeName: n1}}`, ""},
		{"UPDATE pods/status ns/theirs", `{spec: {nodeName: n2}}`, `{spec: {nodeName: n2}}`, "can only update pod status for pods with spec.nodeName set to itself"},
		{"UPDATE pods/status ns/mine", `{metadata: {labels: {a: b}}}`, `{spec: {nodeName: n1}}`, "cannot update labels through pod status"},
		{"UPDATE pods/status ns/mine", `{status: {resourceClaimStatuses: [{name: a}]}}`, `{spec: {nodeName: n1}}`, "cannot update resource claim statues"},
		{"CREATE pods/eviction ns/mine", `{}`, "", ""},
		{"CREATE pods/eviction ns/theirs", `{}`, "", "can only evict pods with spec.nodeName set to itself"},
		{"CREATE pods/eviction ns/gone", `{}`, "", `pods "gone" not found`},
		{"CREATE pods/binding ns/mine", `{}`, "", `unexpected pod subresource "binding"`},

		{"UPDATE persistentvolumeclaims ns/c", `{}`, `{}`, "may only update PVC status"},
		{"UPDATE persistentvolumeclaims/status ns/c", `{metadata: {resourceVersion: "2"}, status: {capacity: {storage: 1Gi}}}`, `{metadata: {resourceVersion: "1"}}`, ""},
		{"UPDATE persistentvolumeclaims/status ns/c", `{metadata: {finalizers: [x]}}`, `{metadata: {}}`, "not allowed to update fields other than status.quantity"},

		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", ""), "", ""},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", "vault"), "", ""},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", "driver"), "", ""},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", "allowed"), "", ""},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", "other"), "", `audience "other" not found in pod spec volume, system:node:n1 is not authorized`},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p1", "vault, driver"), "", "node may only request 0 or 1 audiences"},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine, uid: p9", ""), "", "does not match the UID in record"},
		{"CREATE serviceaccounts/token ns/sa", token("name: mine", ""), "", "without a uid"},
		{"CREATE serviceaccounts/token ns/sa", token("name: theirs, uid: p2", ""), "", "scheduled on a different node"},
		{"CREATE serviceaccounts/token ns/sa", `{spec: {}}`, "", "not bound to a pod"},

		{"CREATE leases.coordination.k8s.io kube-node-lease/", `{metadata: {name: n1}}`, "", ""},
		{"CREATE leases.coordination.k8s.io kube-node-lease/", `{metadata: {name: n2}}`, "", "same name as the requesting node"},
		{"UPDATE leases.coordination.k8s.io ns/n1", `{}`, `{}`, `"kube-node-lease" system namespace`},
		{"CREATE csinodes.storage.k8s.io /", `{metadata: {name: n2}}`, "", "can only access CSINode"},
		{"CREATE resourceslices.resource.k8s.io /", `{spec: {nodeName: n1}}`, "", ""},
		{"CREATE resourceslices.resource.k8s.io /", `{spec: {allNodes: true}}`, "", "can only create ResourceSlice with the same NodeName"},
		{"DELETE resourceslices.resource.k8s.io /s", "", `{spec: {nodeName: n2}}`, "can only delete ResourceSlice with the same NodeName"},
		{"CREATE certificatesigningrequests.certificates.k8s.io /c", `{spec: {signerName: kubernetes.io/kubelet-serving, request: ` + csr(t, "system:node:n1") + `}}`, "", ""},
		{"CREATE certificatesigningrequests.certificates.k8s.io /c", `{spec: {signerName: kubernetes.io/kubelet-serving, request: ` + csr(t, "system:node:n2") + `}}`, "", "can only create a node CSR with CN=system:node:n1"},
		{"CREATE certificatesigningrequests.certificates.k8s.io /c", `{spec: {signerName: kubernetes.io/kubelet-serving, request: eA==}}`, "", "unable to parse csr"},
		{"CREATE certificatesigningrequests.certificates.k8s.io /c", `{spec: {signerName: example.com/x, request: eA==}}`, "", ""},
		{"CREATE configmaps ns/", `{}`, "", ""},
	} {
		t.Run(c.what+" "+c.want, func(t *testing.T) {
			f := strings.Fields(c.what)
			r := &resource.Request{Operation: resource.Operation(f[0]), Object: tree(c.object), Old: tree(c.old), Reader: world,
				User: resource.User{Name: "system:node:n1", Groups: []string{"system:nodes"}}}
			r.Resource.Resource, r.Resource.Group, _ = strings.Cut(f[1], ".")
			r.Resource.Resource, r.Subresource, _ = strings.Cut(r.Resource.Resource, "/")
			r.Namespace, r.Name, _ = strings.Cut(f[2], "/")
			p := node.NewRestriction(audiences{})
			err := p.Validate(t.Context(), &admission.Request{Request: r})
			switch {
			case c.want == "":
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Fatalf("%v, want %q", err, c.want)
			case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
				t.Errorf("%T %v", err, err)
			}
			r.User = resource.User{Name: "system:node:n1"} // not in the group: nobody's node
			if err := p.Validate(t.Context(), &admission.Request{Request: r}); err != nil {
				t.Errorf("another user is refused: %v", err)
			}
		})
	}
}

// audiences lets nodes request tokens for "allowed".
type audiences struct{}

func (audiences) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.Verb == "request-serviceaccounts-token-audience" && a.Resource == "allowed" && a.Name == "sa" && a.Namespace == "ns", "", nil
}
