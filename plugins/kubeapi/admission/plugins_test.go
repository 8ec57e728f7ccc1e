package admission_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/readertest"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	sdkadmission "github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

type object = map[string]any

func named(name string, more object) object {
	o := object{"metadata": object{"name": name}}
	for k, v := range more {
		o[k] = v
	}
	return o
}

// class is one that annotations may mark as default.
func class(name, created, annotation string, more object) object {
	o := named(name, more)
	meta := tree.Map(o, "metadata")
	meta["creationTimestamp"] = created
	if annotation != "" {
		meta["annotations"] = object{annotation: "true"}
	}
	return o
}

func claim(size, className, phase string) object {
	spec := object{"resources": object{"requests": object{"storage": size}}}
	if className != "" {
		spec["storageClassName"] = className
	}
	return named("c", object{"spec": spec, "status": object{"phase": phase}})
}

func gvr(group, version, res string) runtimeschema.GroupVersionResource {
	return runtimeschema.GroupVersionResource{Group: group, Version: version, Resource: res}
}

func TestWhatIsRefused(t *testing.T) {
	claimsV1, classesV1 := gvr("", "v1", "persistentvolumeclaims"), gvr("scheduling.k8s.io", "v1", "priorityclasses")
	reader := readertest.Objects{
		storageClasses:  {named("grows", object{"allowVolumeExpansion": true}), named("stays", nil)},
		priorityClasses: {named("first", object{"globalDefault": true, "value": int64(1)})},
		runtimeClasses:  {named("vm", object{"overhead": object{"podFixed": object{"cpu": "1"}}}), named("plain", nil)},
		serviceAccounts: {
			named("default", nil),
			{"metadata": object{"name": "strict", "annotations": object{"kubernetes.io/enforce-mountable-secrets": "true"}},
				"secrets": []any{object{"name": "mine"}}},
		},
		nodes: {named("n1", object{"status": object{"allocatable": object{"cpu": "2", "memory": "1Gi"}}}),
			{"metadata": object{"name": "w1", "labels": object{"kubernetes.io/os": "windows"}}}},
		limitRanges: {named("l", object{"spec": object{"limits": []any{
			object{"type": "PersistentVolumeClaim", "min": object{"storage": "1Gi"}, "max": object{"storage": "4Gi"}}}}})},
	}
	strict := func(change func(spec object)) object {
		return newPod(func(p map[string]any) {
			spec := tree.Map(p, "spec")
			spec["serviceAccountName"] = "strict"
			change(spec)
		})
	}
	env := func(list, entry string, v any) func(spec object) {
		return func(spec object) { spec[list] = []any{object{"name": "c", "image": "i", entry: []any{v}}} }
	}
	ofSecret := object{"name": "E", "valueFrom": object{"secretKeyRef": object{"name": "theirs", "key": "k"}}}
	withNode := func(node, cpu string) object {
		return newPod(func(p map[string]any) {
			tree.Map(p, "spec")["nodeName"] = node
			tree.Map(p, "spec")["serviceAccountName"] = "default"
			tree.Object(tree.List(tree.Map(p, "spec"), "containers")[0])["resources"] = object{"requests": object{"cpu": cpu}}
		})
	}
	runtime := func(name string, overhead object) object {
		return newPod(func(p map[string]any) {
			spec := tree.Map(p, "spec")
			if name != "" {
				spec["runtimeClassName"] = name
			}
			if overhead != nil {
				spec["overhead"] = overhead
			}
		})
	}
	for _, tc := range []struct {
		name string
		r    resource.Request
		want string
	}{
		{"kube-system", resource.Request{Operation: resource.Delete, Resource: gvr("", "v1", "namespaces"), Name: "kube-system", Old: named("kube-system", nil)},
			`namespaces "kube-system" is forbidden: this namespace may not be deleted`},
		{"another namespace", resource.Request{Operation: resource.Delete, Resource: gvr("", "v1", "namespaces"), Name: "x", Old: named("x", nil)}, ""},
		{"small claim", resource.Request{Operation: resource.Create, Resource: claimsV1, Object: claim("1Mi", "", "")},
			`persistentvolumeclaims "c" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi`},
		{"big claim", resource.Request{Operation: resource.Create, Resource: claimsV1, Object: claim("8Gi", "", "")},
			`persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 4Gi, but request is 8Gi`},
		{"growing claim", resource.Request{Operation: resource.Update, Resource: claimsV1, Old: claim("1Gi", "grows", "Bound"), Object: claim("2Gi", "grows", "Bound")}, ""},
		{"growing too much", resource.Request{Operation: resource.Update, Resource: claimsV1, Old: claim("1Gi", "grows", "Bound"), Object: claim("5Gi", "grows", "Bound")},
			`persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 4Gi, but request is 5Gi`},
		{"growing of another class", resource.Request{Operation: resource.Update, Resource: claimsV1, Old: claim("1Gi", "stays", "Bound"), Object: claim("2Gi", "stays", "Bound")},
			`persistentvolumeclaims "c" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize`},
		{"growing unbound", resource.Request{Operation: resource.Update, Resource: claimsV1, Old: claim("1Gi", "grows", "Pending"), Object: claim("2Gi", "grows", "Pending")},
			`persistentvolumeclaims "c" is forbidden: Only bound persistent volume claims can be expanded`},
		{"a second default", resource.Request{Operation: resource.Create, Resource: classesV1, Object: named("second", object{"globalDefault": true})},
			`priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass first is already marked as default. Only one default can exist`},
		{"the default itself", resource.Request{Operation: resource.Update, Resource: classesV1, Name: "first", Old: reader[priorityClasses][0], Object: named("first", object{"globalDefault": true})}, ""},
		{"no default", resource.Request{Operation: resource.Create, Resource: classesV1, Object: named("second", nil)}, ""},
		{"unknown runtime class", resource.Request{Operation: resource.Create, Resource: podsV1, Object: runtime("none", nil)},
			`pods "p" is forbidden: pod rejected: RuntimeClass "none" not found`},
		{"overhead of nobody", resource.Request{Operation: resource.Create, Resource: podsV1, Object: runtime("", object{"cpu": "1"})},
			`pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead`},
		{"overhead of a class without", resource.Request{Operation: resource.Create, Resource: podsV1, Object: runtime("plain", object{"cpu": "1"})},
			`pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead`},
		{"another overhead", resource.Request{Operation: resource.Create, Resource: podsV1, Object: runtime("vm", object{"cpu": "2"})},
			`pods "p" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead`},
		{"the same overhead", resource.Request{Operation: resource.Create, Resource: podsV1, Object: runtime("vm", object{"cpu": "1000m"})}, ""},
		{"its own secret", resource.Request{Operation: resource.Create, Resource: podsV1, Object: strict(func(spec object) {
			spec["volumes"] = []any{object{"name": "v", "secret": object{"secretName": "mine"}}}
		})}, ""},
		{"another's secret", resource.Request{Operation: resource.Create, Resource: podsV1, Object: strict(func(spec object) {
			spec["volumes"] = []any{object{"name": "v", "secret": object{"secretName": "theirs"}}}
		})}, `pods "p" is forbidden: volume with secret.secretName="theirs" is not allowed because service account strict does not reference that secret`},
		{"in a variable", resource.Request{Operation: resource.Create, Resource: podsV1, Object: strict(env("containers", "env", ofSecret))},
			`pods "p" is forbidden: container c with envVar E referencing secret.secretName="theirs" is not allowed because service account strict does not reference that secret`},
		{"in the environment of an init container", resource.Request{Operation: resource.Create, Resource: podsV1, Object: strict(env("initContainers", "envFrom", object{"secretRef": object{"name": "theirs"}}))},
			`pods "p" is forbidden: init container c with envFrom referencing secret.secretName="theirs" is not allowed because service account strict does not reference that secret`},
		{"pull secret", resource.Request{Operation: resource.Create, Resource: podsV1, Object: strict(func(spec object) { spec["imagePullSecrets"] = []any{object{"name": "theirs"}} })},
			`pods "p" is forbidden: imagePullSecrets[0].name="theirs" is not allowed because service account strict does not reference that imagePullSecret`},
		{"ephemeral container", resource.Request{Operation: resource.Update, Resource: podsV1, Subresource: "ephemeralcontainers", Old: strict(func(object) {}), Object: strict(env("ephemeralContainers", "env", ofSecret))},
			`pods "p" is forbidden: ephemeral container c with envVar E referencing secret.secretName="theirs" is not allowed because service account strict does not reference that secret`},
		{"resize", resource.Request{Operation: resource.Update, Resource: podsV1, Subresource: "resize", Old: withNode("n1", "1"), Object: withNode("n1", "2")}, ""},
		{"too big for its node", resource.Request{Operation: resource.Update, Resource: podsV1, Subresource: "resize", Old: withNode("n1", "1"), Object: withNode("n1", "3")},
			`pods "p" is forbidden: node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000`},
		{"on Windows", resource.Request{Operation: resource.Update, Resource: podsV1, Subresource: "resize", Old: withNode("w1", "1"), Object: withNode("w1", "2")},
			`pods "p" is forbidden: pod resize is only supported on linux nodes, node "w1" is "windows"`},
		{"on no node", resource.Request{Operation: resource.Update, Resource: podsV1, Subresource: "resize", Old: withNode("gone", "1"), Object: withNode("gone", "2")},
			`pods "p" is forbidden: node "gone" not found`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.r
			r.Namespace, r.Reader = "n", reader
			got := ""
			if err := write(newPlugins(t), &r); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestWhatIsChanged(t *testing.T) {
	const isDefault = "storageclass.kubernetes.io/is-default-class"
	reader := readertest.Objects{
		storageClasses: {class("old", "2026-01-01T00:00:00Z", isDefault, nil), class("b", "2026-01-02T00:00:00Z", isDefault, nil),
			class("a", "2026-01-02T00:00:00Z", "storageclass.beta.kubernetes.io/is-default-class", nil), class("newer", "2026-01-03T00:00:00Z", "", nil)},
		ingressClasses:  {class("web", "2026-01-01T00:00:00Z", "ingressclass.kubernetes.io/is-default-class", nil)},
		nodes:           {{"metadata": object{"name": "n1", "labels": object{"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "x": "y"}}}},
		serviceAccounts: {named("default", object{"automountServiceAccountToken": false})},
	}
	taint := object{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
	for _, tc := range []struct {
		name, off   string
		resource    runtimeschema.GroupVersionResource
		object, old object
		at          []string
		want        any
	}{
		{"default storage class", "", gvr("", "v1", "persistentvolumeclaims"), claim("1Gi", "", ""), nil, []string{"spec", "storageClassName"}, "a"},
		{"disabled", "DefaultStorageClass", gvr("", "v1", "persistentvolumeclaims"), claim("1Gi", "", ""), nil, []string{"spec", "storageClassName"}, nil},
		{"a class of its own", "", gvr("", "v1", "persistentvolumeclaims"), claim("1Gi", "old", ""), nil, []string{"spec", "storageClassName"}, "old"},
		{"no class", "", gvr("", "v1", "persistentvolumeclaims"), named("c", object{"spec": object{"storageClassName": ""}}), nil, []string{"spec", "storageClassName"}, ""},
		{"no new class on update", "", gvr("", "v1", "persistentvolumeclaims"), claim("1Gi", "", ""), claim("1Gi", "", ""), []string{"spec", "storageClassName"}, nil},
		{"claim in use", "", gvr("", "v1", "persistentvolumeclaims"), claim("1Gi", "", ""), nil, []string{"metadata", "finalizers"}, []any{"kubernetes.io/pvc-protection"}},
		{"volume in use", "", gvr("", "v1", "persistentvolumes"), named("v", nil), nil, []string{"metadata", "finalizers"}, []any{"kubernetes.io/pv-protection"}},
		{"volume not protected", "StorageObjectInUseProtection", gvr("", "v1", "persistentvolumes"), named("v", nil), nil, []string{"metadata", "finalizers"}, nil},
		{"ingress class", "", gvr("networking.k8s.io", "v1", "ingresses"), named("i", object{"spec": object{}}), nil, []string{"spec", "ingressClassName"}, "web"},
		{"old ingress class", "", gvr("networking.k8s.io", "v1", "ingresses"), object{"metadata": object{"name": "i", "annotations": object{"kubernetes.io/ingress.class": "x"}}, "spec": object{}}, nil,
			[]string{"spec", "ingressClassName"}, nil},
		{"new node", "", gvr("", "v1", "nodes"), named("n", nil), nil, []string{"spec", "taints"}, []any{taint}},
		{"tainted node", "", gvr("", "v1", "nodes"), named("n", object{"spec": object{"taints": []any{taint}}}), nil, []string{"spec", "taints"}, []any{taint}},
		{"old node", "", gvr("", "v1", "nodes"), named("n", nil), named("n", nil), []string{"spec", "taints"}, nil},
		{"labels of the node", "", podsV1, newPod(func(p map[string]any) { tree.Map(p, "spec")["nodeName"] = "n1" }), nil, []string{"metadata", "labels"},
			object{"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}},
		{"priority stays", "", podsV1, newPod(nil), newPod(func(p map[string]any) { tree.Map(p, "spec")["priority"] = int64(7) }), []string{"spec", "priority"}, int64(7)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var disabled []string
			if tc.off != "" {
				disabled = []string{tc.off}
			}
			r := &resource.Request{Operation: resource.Create, Resource: tc.resource, Namespace: "n", Reader: reader, Object: tree.CopyMap(tc.object), Old: tc.old}
			if tc.old != nil {
				r.Operation = resource.Update
			}
			if err := write(newPlugins(t, disabled...), r); err != nil {
				t.Fatal(err)
			}
			got := tree.In(r.Object, tc.at[:len(tc.at)-1]...)[tc.at[len(tc.at)-1]]
			if !tree.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestBindingTakesLabelsOfTheNode(t *testing.T) {
	reader := readertest.Objects{nodes: {{"metadata": object{"name": "n1", "labels": object{"topology.kubernetes.io/zone": "z", "x": "y"}}}}}
	for target, want := range map[string]string{"n1": "z", "unknown": ""} {
		r := &resource.Request{Operation: resource.Create, Resource: podsV1, Subresource: "binding", Reader: reader,
			Object: object{"target": object{"kind": "Node", "name": target}}}
		if err := newPlugins(t).Binding(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if got := tree.StringMap(tree.Map(r.Object, "metadata"), "labels")["topology.kubernetes.io/zone"]; got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func signingRequest(t *testing.T, signer string, organizations ...string) object {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x", Organization: organizations}}, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return named("r", object{"spec": object{"signerName": signer, "request": base64.StdEncoding.EncodeToString(text)}})
}

func TestCertificates(t *testing.T) {
	const client = "kubernetes.io/kube-apiserver-client"
	allowed := map[string]bool{"approve signers example.com/*": true, "sign signers example.com/a": true, "attest signers example.com/a": true}
	p, err := admission.New(admission.Options{Authorize: func(_ context.Context, _ resource.User, verb, group, res, name string) (bool, error) {
		return group == "certificates.k8s.io" && allowed[verb+" "+res+" "+name], nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	requests, bundles := gvr("certificates.k8s.io", "v1", "certificatesigningrequests"), gvr("certificates.k8s.io", "v1beta1", "clustertrustbundles")
	spec := func(signer string) object { return named("r", object{"spec": object{"signerName": signer}}) }
	signed := func(signer string) object {
		return named("r", object{"spec": object{"signerName": signer}, "status": object{"certificate": "x"}})
	}
	const head = `certificatesigningrequests.certificates.k8s.io "r" is forbidden: `
	for _, tc := range []struct {
		name string
		r    resource.Request
		want string
	}{
		{"masters", resource.Request{Operation: resource.Create, Resource: requests, Object: signingRequest(t, client, "system:masters")},
			head + "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"},
		{"somebody", resource.Request{Operation: resource.Create, Resource: requests, Object: signingRequest(t, client, "people")}, ""},
		{"masters of another signer", resource.Request{Operation: resource.Create, Resource: requests, Object: signingRequest(t, "example.com/a", "system:masters")}, ""},
		{"approval for a domain", resource.Request{Operation: resource.Update, Resource: requests, Subresource: "approval", Object: spec("example.com/b"), Old: spec("example.com/b")}, ""},
		{"approval for another", resource.Request{Operation: resource.Update, Resource: requests, Subresource: "approval", Object: spec("example.com/b"), Old: spec("other.com/b")},
			head + `user not permitted to approve requests with signerName "other.com/b"`},
		{"signature", resource.Request{Operation: resource.Update, Resource: requests, Subresource: "status", Object: signed("example.com/a"), Old: spec("example.com/a")}, ""},
		{"signature for another", resource.Request{Operation: resource.Update, Resource: requests, Subresource: "status", Object: signed("example.com/b"), Old: spec("example.com/b")},
			head + `user not permitted to sign requests with signerName "example.com/b"`},
		{"a status that signs nothing", resource.Request{Operation: resource.Update, Resource: requests, Subresource: "status", Object: signed("example.com/b"), Old: signed("example.com/b")}, ""},
		{"a bundle", resource.Request{Operation: resource.Create, Resource: bundles, Object: spec("example.com/a")}, ""},
		{"a bundle of another", resource.Request{Operation: resource.Create, Resource: bundles, Object: spec("example.com/b")},
			`clustertrustbundles.certificates.k8s.io "r" is forbidden: user not permitted to attest for signerName "example.com/b"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := tc.r
			r.Reader = readertest.Objects{}
			got := ""
			if err := write(p, &r); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestPodSecurity(t *testing.T) {
	levels := func(labels object) readertest.Objects {
		return readertest.Objects{namespaces: {{"metadata": object{"name": "n", "labels": labels}}},
			serviceAccounts: {named("default", object{"automountServiceAccountToken": false})}}
	}
	label := func(mode, level string) object { return object{"pod-security.kubernetes.io/" + mode: level} }
	hostPod := newPod(func(p map[string]any) { tree.Map(p, "spec")["hostNetwork"] = true })
	deployment := named("d", object{"spec": object{"template": object{"spec": tree.Map(hostPod, "spec")}}})
	const violation = `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`
	for _, tc := range []struct {
		name        string
		labels      object
		resource    runtimeschema.GroupVersionResource
		object, old object
		want        string // of the refusal
		warns       string
		audits      string // "key=value"
	}{
		{name: "no labels", resource: podsV1, object: hostPod},
		{name: "enforced", labels: label("enforce", "baseline"), resource: podsV1, object: hostPod,
			want: `pods "p" is forbidden: ` + violation, audits: "pod-security.kubernetes.io/enforce-policy=baseline:latest"},
		{name: "kept", labels: label("enforce", "baseline"), resource: podsV1, object: newPod(nil), audits: "pod-security.kubernetes.io/enforce-policy=baseline:latest"},
		{name: "warned", labels: label("warn", "baseline"), resource: podsV1, object: hostPod, warns: "would " + strings.Replace(violation, "violates", "violate", 1)},
		{name: "audited", labels: label("audit", "baseline"), resource: podsV1, object: hostPod,
			audits: "pod-security.kubernetes.io/audit-violations=would " + strings.Replace(violation, "violates", "violate", 1)},
		{name: "template", labels: label("warn", "baseline"), resource: gvr("apps", "v1", "deployments"), object: deployment, warns: "would violate PodSecurity"},
		{name: "template where only pods are refused", labels: label("enforce", "baseline"), resource: gvr("apps", "v1", "deployments"), object: deployment,
			warns: "would violate PodSecurity"}, // who is refused is warned before
		{name: "an update that matters not", labels: label("enforce", "baseline"), resource: podsV1, object: hostPod, old: hostPod},
		{name: "a bad level", resource: gvr("", "v1", "namespaces"), object: object{"metadata": object{"name": "n", "labels": label("enforce", "lax")}},
			want: `Namespace "n" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "lax": must be one of privileged, baseline, restricted`},
		{name: "a level in a namespace with pods", resource: gvr("", "v1", "namespaces"), object: object{"metadata": object{"name": "n", "labels": label("enforce", "baseline")}},
			old: named("n", nil), warns: `existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reader := levels(tc.labels)
			reader[podsV1.GroupResource()] = []map[string]any{hostPod}
			audits := map[string]string{}
			r := &sdkadmission.Request{
				Request: &resource.Request{Operation: resource.Create, Resource: tc.resource, Namespace: "n", Name: tree.Str(tree.Map(tc.object, "metadata"), "name"),
					Object: tree.CopyMap(tc.object), Old: tc.old, Reader: reader},
				Annotate: func(key, value string) { audits[key] = value },
			}
			r.Kind.Kind = map[bool]string{true: "Namespace", false: "Pod"}[tc.resource.Resource == "namespaces"]
			if tc.old != nil {
				r.Operation = resource.Update
			}
			if tc.resource == podsV1 && tc.old == nil {
				if err := newPlugins(t).Pod(context.Background(), r.Request, tree.Map(r.Object, "spec")); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			if err := newPlugins(t).Validate(context.Background(), r); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			if warned := strings.Join(r.Warnings, "; "); !strings.Contains(warned, tc.warns) || tc.warns == "" && warned != "" {
				t.Errorf("warnings %q, want %q", warned, tc.warns)
			}
			if key, value, ok := strings.Cut(tc.audits, "="); ok && !strings.HasPrefix(audits[key], value[:min(len(value), 30)]) {
				t.Errorf("audit annotations %v, want %s", audits, tc.audits)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		options admission.Options
		want    string
	}{
		{admission.Options{}, ""},
		{admission.Options{Disabled: admission.Names()}, ""},
		{admission.Options{Disabled: []string{"PodSecurity", "Podsecurity"}}, `disabled[1]: no admission plugin is called "Podsecurity"`},
		{admission.Options{PodSecurity: admission.PodSecurity{Enforce: "baseline", EnforceVersion: "v1.30", ExemptNamespaces: []string{"kube-system"}}}, ""},
		{admission.Options{PodSecurity: admission.PodSecurity{Warn: "strict"}}, "podSecurity: "},
	} {
		_, err := admission.New(tc.options)
		if got := fmt.Sprint(err); (err == nil) != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %v", tc.options, err)
		}
	}
}

func TestLevelsOfTheConfiguration(t *testing.T) {
	p, err := admission.New(admission.Options{PodSecurity: admission.PodSecurity{Enforce: "baseline", ExemptNamespaces: []string{"system"}}})
	if err != nil {
		t.Fatal(err)
	}
	for namespace, refused := range map[string]bool{"n": true, "system": false} {
		r := &resource.Request{Operation: resource.Create, Resource: podsV1, Namespace: namespace, Name: "p",
			Object: newPod(func(p map[string]any) { tree.Map(p, "spec")["hostNetwork"] = true }),
			Reader: readertest.Objects{namespaces: {named(namespace, nil)}, serviceAccounts: {named("default", nil)}}}
		if err := write(p, r); (err != nil) != refused {
			t.Errorf("%s: %v", namespace, err)
		}
	}
}
