package core

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/readertest"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	"github.com/pintle-dev/pintle/sdk/resource"
)

func newPod(change func(pod map[string]any)) map[string]any {
	pod := map[string]any{
		"metadata": map[string]any{"name": "p", "namespace": "n", "uid": "u", "labels": map[string]any{"app": "a"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}},
		"status":   map[string]any{"phase": "Pending"},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func onNode(pod map[string]any) { tree.Map(pod, "spec")["nodeName"] = "n1" }

func TestBinding(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pod    func(map[string]any)
		target map[string]any
		uid    string
		code   int32
		want   string
	}{
		{name: "a new pod", target: map[string]any{"kind": "Node", "name": "n1"}},
		{name: "its uid", target: map[string]any{"name": "n1"}, uid: "u"},
		{name: "another uid", target: map[string]any{"name": "n1"}, uid: "v", code: 409, want: "UID in precondition: v"},
		{name: "no node", target: map[string]any{}, code: 422, want: "target.name: Required value"},
		{name: "another kind", target: map[string]any{"kind": "Pod", "name": "x"}, code: 422, want: "target.kind: Unsupported value"},
		{name: "bound", pod: onNode, target: map[string]any{"name": "n2"}, code: 409, want: `pod p is already assigned to node "n1"`},
		{name: "being deleted", target: map[string]any{"name": "n1"}, code: 409, want: "is being deleted",
			pod: func(p map[string]any) { tree.Map(p, "metadata")["deletionTimestamp"] = "2026-01-01T00:00:00Z" }},
		{name: "gated", target: map[string]any{"name": "n1"}, code: 409, want: "non-empty .spec.schedulingGates",
			pod: func(p map[string]any) {
				tree.Map(p, "spec")["schedulingGates"] = []any{map[string]any{"name": "g"}}
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := newPod(tc.pod)
			meta := map[string]any{"name": "p", "annotations": map[string]any{"a": "b"}}
			if tc.uid != "" {
				meta["uid"] = tc.uid
			}
			r := &resource.Request{Operation: resource.Create, Subresource: "binding", Namespace: "n", Name: "p",
				Object: map[string]any{"metadata": meta, "target": tc.target}}
			_, err := Pods{}.CreateSubresource(context.Background(), r, pod)
			checkStatus(t, err, tc.code, tc.want)
			if tc.code != 0 {
				return
			}
			if node := tree.Str(tree.Map(pod, "spec"), "nodeName"); node != "n1" {
				t.Errorf("the pod is on %q", node)
			}
			if tree.Str(tree.In(pod, "metadata", "annotations"), "a") != "b" {
				t.Error("annotations of the binding are lost")
			}
			c := tree.Object(tree.List(tree.Map(pod, "status"), "conditions")[0])
			if c["type"] != "PodScheduled" || c["status"] != "True" || tree.Str(c, "lastTransitionTime") == "" {
				t.Errorf("condition %v", c)
			}
		})
	}
}

func checkStatus(t *testing.T, err error, code int32, want string) {
	t.Helper()
	if code == 0 {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("error %v has no status", err)
	}
	if s := status.Status(); s.Code != code || !strings.Contains(s.Message, want) {
		t.Errorf("%d %q, want %d %q", s.Code, s.Message, code, want)
	}
}

func TestGracePeriod(t *testing.T) {
	five, zero, minus := int64(5), int64(0), int64(-1)
	for _, tc := range []struct {
		name  string
		pod   func(map[string]any)
		asked *int64
		want  int64
	}{
		{"not scheduled", nil, nil, 0},
		{"not scheduled, asked", nil, &five, 0},
		{"default", onNode, nil, 30},
		{"its own", func(p map[string]any) { onNode(p); tree.Map(p, "spec")["terminationGracePeriodSeconds"] = int64(7) }, nil, 7},
		{"asked", onNode, &five, 5},
		{"at once", onNode, &zero, 0},
		{"negative", onNode, &minus, 1},
		{"succeeded", func(p map[string]any) { onNode(p); tree.Map(p, "status")["phase"] = "Succeeded" }, &five, 0},
		{"failed", func(p map[string]any) { onNode(p); tree.Map(p, "status")["phase"] = "Failed" }, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Pods{}.GracePeriod(context.Background(), &resource.Request{Operation: resource.Delete, Old: newPod(tc.pod)}, tc.asked)
			if err != nil || got != tc.want {
				t.Errorf("%d seconds, error %v, want %d", got, err, tc.want)
			}
		})
	}
}

func budget(name, app string, generation, observed, allowed int64) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name, "generation": generation},
		"spec":     map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": app}}},
		"status":   map[string]any{"observedGeneration": observed, "disruptionsAllowed": allowed, "desiredHealthy": int64(2), "currentHealthy": int64(2)},
	}
}

// books is a Writer over a few objects.
type books map[runtimeschema.GroupResource]map[string]any

func (a books) ChangeStatus(_ context.Context, gr runtimeschema.GroupResource, _, _ string, change func(map[string]any) error) error {
	return change(a[gr])
}

func TestEviction(t *testing.T) {
	running := func(p map[string]any) { onNode(p); tree.Map(p, "status")["phase"] = "Running" }
	healthy := func(p map[string]any) { running(p); setCondition(tree.Map(p, "status"), "Ready", "True") }
	b := func(app string, observed, allowed int64, change ...func(spec, status map[string]any)) []map[string]any {
		made := budget("b", app, 1, observed, allowed)
		for _, c := range change {
			c(tree.Map(made, "spec"), tree.Map(made, "status"))
		}
		return []map[string]any{made}
	}
	short := func(_, status map[string]any) { status["currentHealthy"] = int64(1) }
	const violates = "Cannot evict pod as it would violate the pod's disruption budget."
	for _, tc := range []struct {
		name    string
		pod     func(map[string]any)
		budgets []map[string]any
		options map[string]any
		dryRun  bool
		code    int32
		want    string
		cause   string
		left    int64 // of what the budget allows
	}{
		{name: "no budget", pod: running},
		{name: "another's budget", pod: healthy, budgets: b("other", 1, 0)},
		{name: "a budget for nothing", pod: healthy, budgets: b("a", 1, 0, func(spec, _ map[string]any) { delete(spec, "selector") })},
		{name: "a budget for everything", pod: healthy, budgets: b("a", 1, 0, func(spec, _ map[string]any) { spec["selector"] = map[string]any{} }), code: 429, want: violates},
		{name: "allowed", pod: healthy, budgets: b("a", 1, 2), left: 1},
		{name: "the last one", pod: healthy, budgets: b("a", 1, 1)},
		{name: "dry run", pod: healthy, budgets: b("a", 1, 2), dryRun: true, left: 2},
		{name: "dry run in the options", pod: healthy, budgets: b("a", 1, 2), options: map[string]any{"dryRun": []any{"All"}}, left: 2},
		{name: "exhausted", pod: healthy, budgets: b("a", 1, 0), code: 429, want: violates, cause: "The disruption budget b needs 2 healthy pods and has 2 currently"},
		{name: "not computed", pod: healthy, budgets: b("a", 1, 0, func(_, status map[string]any) {
			status["conditions"] = []any{map[string]any{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}}
		}), code: 429, want: violates, cause: "The disruption budget b does not allow evicting pods currently because it failed sync: no scale"},
		{name: "not yet processed", pod: healthy, budgets: b("a", 0, 1), code: 429, want: violates, cause: "The disruption budget b is still being processed by the server.", left: 1},
		{name: "negative", pod: healthy, budgets: b("a", 1, -1), code: 403, want: "pdb disruptions allowed is negative", left: -1},
		{name: "two budgets", pod: healthy, budgets: append(b("a", 1, 1), b("a", 1, 1)...), code: 500, want: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", left: 1},
		{name: "pending", budgets: b("a", 1, 0)},
		{name: "unhealthy, the others are enough", pod: running, budgets: b("a", 1, 0)},
		{name: "unhealthy, the others are too few", pod: running, budgets: b("a", 1, 0, short), code: 429, want: violates},
		{name: "unhealthy ones always may", pod: running, budgets: b("a", 1, 0, short, func(spec, _ map[string]any) { spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow" })},
		{name: "another pod of that name", pod: running, options: map[string]any{"preconditions": map[string]any{"uid": "other"}}, code: 409, want: "the UID in the precondition (other) does not match"},
		{name: "changed meanwhile", pod: running, options: map[string]any{"preconditions": map[string]any{"resourceVersion": "1"}}, code: 409, want: "the ResourceVersion in the precondition (1) does not match"},
		{name: "an option of other deletions", pod: running, options: map[string]any{"ignoreStoreReadErrorWithClusterBreakingPotential": true}, code: 422, want: "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options := map[string]any{"gracePeriodSeconds": int64(3)}
			for k, v := range tc.options {
				options[k] = v
			}
			r := &resource.Request{Subresource: "eviction", Namespace: "n", Name: "p", Reader: readertest.Objects{budgets: tc.budgets}, DryRun: tc.dryRun,
				Object: map[string]any{"metadata": map[string]any{"name": "p"}, "deleteOptions": options}}
			pod := newPod(tc.pod)
			written := books{podsResource: tree.CopyMap(pod)}
			if len(tc.budgets) > 0 {
				written[budgets] = tc.budgets[0]
			}
			got, err := Pods{Writer: written}.CreateSubresource(context.Background(), r, pod)
			checkStatus(t, err, tc.code, tc.want)
			if tc.code == 0 && (!got.Delete || tree.Int0(got.DeleteOptions, "gracePeriodSeconds") != 3) {
				t.Errorf("result %+v", got)
			}
			if st, ok := err.(apierrors.APIStatus); tc.cause != "" && (!ok || st.Status().Details.Causes[0].Message != tc.cause) {
				t.Errorf("causes of %+v", err)
			}
			announced := false
			for _, v := range tree.List(tree.Map(written[podsResource], "status"), "conditions") {
				c := tree.Object(v)
				announced = announced || (tree.Str(c, "type") == "DisruptionTarget" && tree.Str(c, "reason") == "EvictionByEvictionAPI")
			}
			if want := tc.code == 0 && !tc.dryRun && tc.name != "dry run in the options"; announced != want {
				t.Errorf("announced: %v", announced)
			}
			if len(tc.budgets) == 0 {
				return
			}
			status := tree.Map(tc.budgets[0], "status")
			if tree.Int0(status, "disruptionsAllowed") != tc.left {
				t.Errorf("budget: %v", status)
			}
			if spent := tree.Map(status, "disruptedPods")["p"] != nil; spent != (tc.name == "allowed" || tc.name == "the last one") {
				t.Errorf("disrupted: %v", status)
			}
		})
	}
	wrong := &resource.Request{Subresource: "eviction", Namespace: "n", Name: "p", Object: map[string]any{"metadata": map[string]any{}}}
	_, err := Pods{}.CreateSubresource(context.Background(), wrong, newPod(running))
	checkStatus(t, err, 400, "name in URL does not match name in Eviction object")
}

// TestSubresourcesChangeOnlyTheirPart writes a changed pod through each subresource.
func TestSubresourcesChangeOnlyTheirPart(t *testing.T) {
	for _, tc := range []struct{ subresource, kept string }{
		{"ephemeralcontainers", "ephemeralContainers"}, {"resize", "containers"},
	} {
		t.Run(tc.subresource, func(t *testing.T) {
			old := newPod(onNode)
			sent := newPod(func(p map[string]any) {
				spec := tree.Map(p, "spec")
				spec["nodeName"] = "other"
				spec["ephemeralContainers"] = []any{map[string]any{"name": "e", "image": "x"}}
				c := tree.Object(tree.List(spec, "containers")[0])
				c["image"] = "changed"
				c["resources"] = map[string]any{"limits": map[string]any{"cpu": "1"}}
				tree.Map(p, "status")["phase"] = "Running"
			})
			r := &resource.Request{Operation: resource.Update, Subresource: tc.subresource, Namespace: "n", Name: "p", Object: sent, Old: old}
			if err := (Pods{}).Prepare(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			spec := tree.Map(r.Object, "spec")
			c := tree.Object(tree.List(spec, "containers")[0])
			resized := tree.In(c, "resources", "limits") != nil
			added := len(tree.List(spec, "ephemeralContainers")) == 1
			if resized != (tc.subresource == "resize") || added != (tc.subresource == "ephemeralcontainers") {
				t.Errorf("resized %v, added %v", resized, added)
			}
			if spec["nodeName"] != "n1" || c["image"] != "i" || tree.Map(r.Object, "status")["phase"] != "Pending" {
				t.Errorf("more than %s changed: %v", tc.kept, r.Object)
			}
		})
	}
}
