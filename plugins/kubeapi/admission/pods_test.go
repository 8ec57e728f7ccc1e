package admission_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/readertest"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
	sdkadmission "github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/resource"
)

var (
	podsV1          = runtimeschema.GroupVersionResource{Version: "v1", Resource: "pods"}
	namespaces      = runtimeschema.GroupResource{Resource: "namespaces"}
	nodes           = runtimeschema.GroupResource{Resource: "nodes"}
	limitRanges     = runtimeschema.GroupResource{Resource: "limitranges"}
	serviceAccounts = runtimeschema.GroupResource{Resource: "serviceaccounts"}
	priorityClasses = runtimeschema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	runtimeClasses  = runtimeschema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"}
	storageClasses  = runtimeschema.GroupResource{Group: "storage.k8s.io", Resource: "storageclasses"}
	ingressClasses  = runtimeschema.GroupResource{Group: "networking.k8s.io", Resource: "ingressclasses"}
)

func newPlugins(t *testing.T, disabled ...string) *admission.Plugins {
	t.Helper()
	p, err := admission.New(admission.Options{Disabled: disabled})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// write takes an object the way the server does, as far as admission is concerned.
func write(p *admission.Plugins, r *resource.Request) error {
	ctx := context.Background()
	if r.Resource == podsV1 && r.Subresource == "" {
		change := p.Pod
		if r.Operation == resource.Update {
			change = p.PodUpdate
		}
		if err := change(ctx, r, tree.Map(r.Object, "spec")); err != nil {
			return err
		}
	} else if prepare := p.Prepare(r.Resource.GroupResource()); prepare != nil && r.Object != nil {
		if err := prepare(ctx, r); err != nil {
			return err
		}
	}
	return p.Validate(ctx, &sdkadmission.Request{Request: r, Annotate: func(string, string) {}})
}

func newPod(change func(pod map[string]any)) map[string]any {
	pod := map[string]any{
		"metadata": map[string]any{"name": "p", "namespace": "n"},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}},
		"status":   map[string]any{"phase": "Pending"},
	}
	if change != nil {
		change(pod)
	}
	return pod
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
	if !errors.As(err, &status) || status.Status().Code != code || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %d: %s", err, code, want)
	}
}

func TestNewPods(t *testing.T) {
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
		reader readertest.Objects
		code   int32
		want   string
		check  func(t *testing.T, spec map[string]any)
	}{
		{name: "no account", reader: readertest.Objects{}, code: 403,
			want: `pods "p" is forbidden: error looking up service account n/default: serviceaccount "default" not found`},
		{name: "token", reader: readertest.Objects{serviceAccounts: {account(nil)}}, check: func(t *testing.T, spec map[string]any) {
			mounts := tree.List(tree.Object(tree.List(spec, "containers")[0]), "volumeMounts")
			if len(mounts) != 1 || len(tree.List(spec, "volumes")) != 1 {
				t.Errorf("mounts %v of volumes %v", mounts, tree.List(spec, "volumes"))
			}
		}},
		{name: "no token for the account", reader: readertest.Objects{serviceAccounts: {account(func(a map[string]any) { a["automountServiceAccountToken"] = false })}},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "volumes")) != 0 {
					t.Error("has a volume")
				}
			}},
		{name: "a mount of its own", reader: readertest.Objects{serviceAccounts: {account(nil)}},
			pod: func(p map[string]any) {
				c := tree.Object(tree.List(tree.Map(p, "spec"), "containers")[0])
				c["volumeMounts"] = []any{map[string]any{"name": "x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}}
			},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "volumes")) != 0 {
					t.Error("has a volume that nobody mounts")
				}
			}},
		{name: "pull secrets", reader: readertest.Objects{serviceAccounts: {account(func(a map[string]any) { a["imagePullSecrets"] = []any{map[string]any{"name": "s"}} })}},
			check: func(t *testing.T, spec map[string]any) {
				if len(tree.List(spec, "imagePullSecrets")) != 1 {
					t.Error("has none")
				}
			}},
		{name: "a priority class", pod: func(p map[string]any) { tree.Map(p, "spec")["priorityClassName"] = "high" },
			reader: readertest.Objects{serviceAccounts: {account(nil)}, priorityClasses: {{"metadata": map[string]any{"name": "high"}, "value": int64(9), "preemptionPolicy": "Never"}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 9 || spec["preemptionPolicy"] != "Never" {
					t.Errorf("priority %v, %v", spec["priority"], spec["preemptionPolicy"])
				}
			}},
		{name: "the default class", reader: readertest.Objects{serviceAccounts: {account(nil)}, priorityClasses: {
			{"metadata": map[string]any{"name": "a"}, "value": int64(9), "globalDefault": true},
			{"metadata": map[string]any{"name": "b"}, "value": int64(4), "globalDefault": true}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 4 || spec["priorityClassName"] != "b" {
					t.Errorf("priority %v of %v", spec["priority"], spec["priorityClassName"])
				}
			}},
		{name: "a system class", pod: func(p map[string]any) { tree.Map(p, "spec")["priorityClassName"] = "system-node-critical" },
			reader: readertest.Objects{serviceAccounts: {account(nil)}}, check: func(t *testing.T, spec map[string]any) {
				if tree.Int0(spec, "priority") != 2000001000 {
					t.Errorf("priority %v", spec["priority"])
				}
			}},
		{name: "a runtime class", pod: func(p map[string]any) { tree.Map(p, "spec")["runtimeClassName"] = "vm" },
			reader: readertest.Objects{serviceAccounts: {account(nil)}, runtimeClasses: {{"metadata": map[string]any{"name": "vm"},
				"overhead": map[string]any{"podFixed": map[string]any{"cpu": "1"}}, "scheduling": map[string]any{"nodeSelector": map[string]any{"vm": "yes"}}}}},
			check: func(t *testing.T, spec map[string]any) {
				if tree.Str(tree.Map(spec, "overhead"), "cpu") != "1" || tree.Str(tree.Map(spec, "nodeSelector"), "vm") != "yes" {
					t.Errorf("spec %v", spec)
				}
			}},
		{name: "a mirror pod with an account", code: 403, want: "a mirror pod may not reference service accounts",
			pod: func(p map[string]any) {
				tree.Map(p, "metadata")["annotations"] = map[string]any{"kubernetes.io/config.mirror": "x"}
				tree.Map(p, "spec")["serviceAccountName"] = "a"
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := newPod(tc.pod)
			r := &resource.Request{Operation: resource.Create, Resource: podsV1, Namespace: "n", Name: "p", Object: pod, Reader: tc.reader}
			err := write(newPlugins(t), r)
			checkStatus(t, err, tc.code, tc.want)
			if tc.check != nil {
				tc.check(t, tree.Map(pod, "spec"))
			}
		})
	}
}

func TestLimitRanges(t *testing.T) {
	ranges := readertest.Objects{serviceAccounts: {{"metadata": map[string]any{"name": "default"}, "automountServiceAccountToken": false}}, limitRanges: {{"metadata": map[string]any{"name": "l"}, "spec": map[string]any{"limits": []any{
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
			r := &resource.Request{Operation: resource.Create, Resource: podsV1, Namespace: "n", Name: "p", Object: pod, Reader: ranges}
			err := write(newPlugins(t), r)
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
		})
	}
}
