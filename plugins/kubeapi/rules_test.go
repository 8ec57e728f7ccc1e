package kubeapi_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// What upstream's strategies say of each kind is data here.
func TestRulesOfKinds(t *testing.T) {
	definitions, err := bundle.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, d := range definitions {
		name := d.GroupResource().String()
		if d.AllowCreateOnUpdate {
			got["create on update"] = append(got["create on update"], name)
		}
		if d.ReturnDeletedObject {
			got["return deleted"] = append(got["return deleted"], name)
		}
		if d.Generation != crd.GenerationDefault {
			got[string(d.Generation)] = append(got[string(d.Generation)], name)
		}
		if !d.Virtual && !d.Versions[0].CompleteColumns {
			got["age added"] = append(got["age added"], name)
		}
	}
	for rule, want := range map[string]string{
		"create on update": "clusterrolebindings.rbac.authorization.k8s.io clusterroles.rbac.authorization.k8s.io endpoints events events.events.k8s.io " +
			"leases.coordination.k8s.io limitranges rolebindings.rbac.authorization.k8s.io roles.rbac.authorization.k8s.io runtimeclasses.node.k8s.io services",
		"return deleted": "csidrivers.storage.k8s.io csinodes.storage.k8s.io deviceclasses.resource.k8s.io namespaces persistentvolumeclaims persistentvolumes pods " +
			"podtemplates resourceclaims.resource.k8s.io resourceclaimtemplates.resource.k8s.io resourcequotas resourceslices.resource.k8s.io serviceaccounts services " +
			"storageclasses.storage.k8s.io volumeattachments.storage.k8s.io volumeattributesclasses.storage.k8s.io",
		"None": "apiservices.apiregistration.k8s.io certificatesigningrequests.certificates.k8s.io csinodes.storage.k8s.io horizontalpodautoscalers.autoscaling ipaddresses.networking.k8s.io " +
			"leases.coordination.k8s.io limitranges namespaces nodes persistentvolumeclaims persistentvolumes resourceclaims.resource.k8s.io " +
			"resourceclaimtemplates.resource.k8s.io resourcequotas servicecidrs.networking.k8s.io services volumeattachments.storage.k8s.io",
		"All": "mutatingwebhookconfigurations.admissionregistration.k8s.io podtemplates priorityclasses.scheduling.k8s.io " +
			"validatingwebhookconfigurations.admissionregistration.k8s.io",
		"Annotations": "deployments.apps",
		"Labels":      "endpointslices.discovery.k8s.io",
		"age added":   "",
	} {
		slices.Sort(got[rule])
		if have := strings.Join(got[rule], " "); have != want {
			t.Errorf("%s:\n have %s\n want %s", rule, have, want)
		}
	}
}

// Who writes an object that has no effect is told so.
func TestKindsWithoutEffectWarn(t *testing.T) {
	definitions, err := bundle.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range definitions {
		h, ok := bundle.Hooks(d.GroupResource()).(resource.Preparer)
		if !ok || d.Names.Kind == "Service" {
			continue
		}
		r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: "x",
			Object: map[string]any{"metadata": map[string]any{"name": "x"}, "spec": map[string]any{}}}
		if err := h.Prepare(context.Background(), r); err == nil && len(r.Warnings) > 0 {
			got = append(got, d.Names.Plural)
		}
	}
	slices.Sort(got)
	const want = "networkpolicies"
	if have := strings.Join(got, " "); have != want {
		t.Errorf("\n have %s\n want %s", have, want)
	}
}
