package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

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

// readable is a resource.Reader over lists.
type readable map[runtimeschema.GroupResource][]map[string]any

func (o readable) Get(_ context.Context, gr runtimeschema.GroupResource, _, name string) (map[string]any, error) {
	for _, v := range o[gr] {
		if tree.Str(tree.Map(v, "metadata"), "name") == name {
			return v, nil
		}
	}
	return nil, nil
}

func (o readable) List(_ context.Context, gr runtimeschema.GroupResource, _ string) ([]map[string]any, error) {
	return o[gr], nil
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
			r := &resource.Request{Subresource: "eviction", Namespace: "n", Name: "p", Reader: readable{budgets: tc.budgets}, DryRun: tc.dryRun,
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

func TestAdmission(t *testing.T) {
	account := func(change func(map[string]any)) map[string]any {
		a := map[string]any{"metadata": map[string]any{"name": "default"}}
		if change != nil {
			change(a)
		}
		return a
	}
	for _, tc := range []struct {
		name   string
		pod    func(map[string]any)
		reader readable
		code   int32
		want   string
		check  func(t *testing.T, spec map[string]any)
	}{
		{name: "no account", reader: readable{}, code: 403,
			want: `pods "p" is forbidden: error looking up service account n/default: serviceaccount "default" not found`},
		{name: "token", reader: readable{serviceAccounts: {account(nil)}}, check: func(t *testing.T, spec map[string]any) {
			mounts := tree.List(tree.Object(tree.List(spec, "containers")[0]), "volumeMounts")
			if len(mounts) != 1 || len(tree.List(spec, "volumes")) != 1 {
				t.Errorf("mounts %v of volumes %v", mounts, tree.List(spec, "volumes"))
			}
		}},
		{name: "no token for the account", reader: readable{serviceAccounts: {account(func(a map[string]any) { a["automountServiceAccountToken"] = false })}},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "volumes")) != 0 {
					t.Error("has a volume")
				}
			}},
		{name: "a mount of its own", reader: readable{serviceAccounts: {account(nil)}},
			pod: func(p map[string]any) {
				c := tree.Object(tree.List(tree.Map(p, "spec"), "containers")[0])
				c["volumeMounts"] = []any{map[string]any{"name": "x", "mountPath": tokenPath}}
			},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "volumes")) != 0 {
					t.Error("has a volume that nobody mounts")
				}
			}},
		{name: "pull secrets", reader: readable{serviceAccounts: {account(func(a map[string]any) { a["imagePullSecrets"] = []any{map[string]any{"name": "s"}} })}},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "imagePullSecrets")) != 1 {
					t.Error("has none")
				}
			}},
		{name: "a priority class", pod: func(p map[string]any) { tree.Map(p, "spec")["priorityClassName"] = "high" },
			reader: readable{serviceAccounts: {account(nil)}, priorityClasses: {{"metadata": map[string]any{"name": "high"}, "value": int64(9), "preemptionPolicy": "Never"}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 9 || spec["preemptionPolicy"] != "Never" {
					t.Errorf("priority %v, %v", spec["priority"], spec["preemptionPolicy"])
				}
			}},
		{name: "the default class", reader: readable{serviceAccounts: {account(nil)}, priorityClasses: {
			{"metadata": map[string]any{"name": "a"}, "value": int64(9), "globalDefault": true},
			{"metadata": map[string]any{"name": "b"}, "value": int64(4), "globalDefault": true}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 4 || spec["priorityClassName"] != "b" {
					t.Errorf("priority %v of %v", spec["priority"], spec["priorityClassName"])
				}
			}},
		{name: "a system class", pod: func(p map[string]any) { tree.Map(p, "spec")["priorityClassName"] = "system-node-critical" },
			reader: readable{serviceAccounts: {account(nil)}}, check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 2000001000 {
					t.Errorf("priority %v", spec["priority"])
				}
			}},
		{name: "a runtime class", pod: func(p map[string]any) { tree.Map(p, "spec")["runtimeClassName"] = "vm" },
			reader: readable{serviceAccounts: {account(nil)}, runtimeClasses: {{"metadata": map[string]any{"name": "vm"},
				"overhead": map[string]any{"podFixed": map[string]any{"cpu": "1"}}, "scheduling": map[string]any{"nodeSelector": map[string]any{"vm": "yes"}}}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Str(tree.Map(spec, "overhead"), "cpu") != "1" || tree.Str(tree.Map(spec, "nodeSelector"), "vm") != "yes" {
					t.Errorf("spec %v", spec)
				}
			}},
		{name: "a mirror pod with an account", code: 403, want: "a mirror pod may not reference service accounts",
			pod: func(p map[string]any) {
				tree.Map(p, "metadata")["annotations"] = map[string]any{mirrorAnnotation: "x"}
				tree.Map(p, "spec")["serviceAccountName"] = "a"
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := newPod(tc.pod)
			r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: "p", Object: pod, Reader: tc.reader}
			err := Pods{}.Prepare(context.Background(), r)
			checkStatus(t, err, tc.code, tc.want)
			if tc.check != nil {
				tc.check(t, tree.Map(pod, "spec"))
			}
		})
	}
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

// reads is a reader of one type's objects.
type reads map[runtimeschema.GroupResource][]map[string]any

func (o reads) Get(_ context.Context, gr runtimeschema.GroupResource, _, name string) (map[string]any, error) {
	if gr == serviceAccounts {
		return map[string]any{"automountServiceAccountToken": false}, nil
	}
	return nil, nil
}

func (o reads) List(_ context.Context, gr runtimeschema.GroupResource, _ string) ([]map[string]any, error) {
	return o[gr], nil
}

func TestLimitRanges(t *testing.T) {
	ranges := reads{limitRanges: {{"metadata": map[string]any{"name": "l"}, "spec": map[string]any{"limits": []any{
		map[string]any{"type": "Container", "min": map[string]any{"cpu": "50m"}, "max": map[string]any{"cpu": "500m"},
			"default": map[string]any{"cpu": "500m"}, "defaultRequest": map[string]any{"cpu": "100m", "ephemeral-storage": "1Gi"},
			"maxLimitRequestRatio": map[string]any{"cpu": "10"}},
		map[string]any{"type": "Pod", "max": map[string]any{"cpu": "800m"}},
	}}}}}
	container := func(name, request, limit string) any {
		c := map[string]any{"name": name, "image": "i"}
		resources := map[string]any{}
		if request != "" {
			resources["requests"] = map[string]any{"cpu": request}
		}
		if limit != "" {
			resources["limits"] = map[string]any{"cpu": limit}
		}
		c["resources"] = resources
		return c
	}
	for _, tc := range []struct {
		name       string
		containers []any
		want       string // of the error, or of the first container
	}{
		{"defaults", []any{container("c", "", "")}, `map[limits:map[cpu:500m] requests:map[cpu:100m ephemeral-storage:1Gi]]`},
		{"its own", []any{container("c", "60m", "70m")}, `map[limits:map[cpu:70m] requests:map[cpu:60m ephemeral-storage:1Gi]]`},
		{"too little", []any{container("c", "10m", "60m")}, "minimum cpu usage per Container is 50m, but request is 10m"},
		{"too much", []any{container("c", "400m", "600m")}, "maximum cpu usage per Container is 500m, but limit is 600m"},
		{"ratio", []any{container("c", "50m", "500m"), container("d", "50m", "501m")}, "maximum cpu usage per Container is 500m, but limit is 501m"},
		{"together", []any{container("c", "100m", "450m"), container("d", "100m", "450m")}, "maximum cpu usage per Pod is 800m, but limit is 900m"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := newPod(func(p map[string]any) { tree.Map(p, "spec")["containers"] = tc.containers })
			r := &resource.Request{Operation: resource.Create, Namespace: "n", Name: "p", Object: pod, Reader: ranges}
			err := Pods{}.Prepare(context.Background(), r)
			if err != nil {
				if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("%v, want %s", err, tc.want)
				}
				return
			}
			c := tree.Object(tree.List(tree.Map(r.Object, "spec"), "containers")[0])
			if got := fmt.Sprint(c["resources"]); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if q := tree.Str(tree.Map(r.Object, "status"), "qosClass"); q != "Burstable" {
				t.Errorf("qosClass %s", q)
			}
		})
	}
}
