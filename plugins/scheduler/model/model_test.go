package model_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

func TestDecodePod(t *testing.T) {
	tests := []struct {
		name, spec string
		check      func(t *testing.T, p *model.Pod)
	}{
		{"requests are summed", `{"containers":[{"resources":{"requests":{"cpu":"100m","memory":"1Mi"}}},{"resources":{"requests":{"cpu":1,"nvidia.com/gpu":"2"}}}]}`,
			func(t *testing.T, p *model.Pod) {
				if p.Requests.MilliCPU != 1100 || p.Requests.Memory != 1<<20 || p.Requests.Scalar["nvidia.com/gpu"] != 2 {
					t.Errorf("requests: %+v", p.Requests)
				}
			}},
		{"the largest init container counts", `{"initContainers":[{"name":"i","resources":{"requests":{"cpu":"2"}}}],"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}],"overhead":{"cpu":"10m"}}`,
			func(t *testing.T, p *model.Pod) {
				if p.Requests.MilliCPU != 2010 {
					t.Errorf("cpu: %d", p.Requests.MilliCPU)
				}
			}},
		{"a sidecar adds up", `{"initContainers":[{"name":"i","restartPolicy":"Always","resources":{"requests":{"cpu":"2"}}}],"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}`,
			func(t *testing.T, p *model.Pod) {
				if p.Requests.MilliCPU != 3000 {
					t.Errorf("cpu: %d", p.Requests.MilliCPU)
				}
			}},
		{"host ports", `{"containers":[{"ports":[{"containerPort":80},{"containerPort":81,"hostPort":81,"hostIP":"0.0.0.0"}]}]}`,
			func(t *testing.T, p *model.Pod) {
				if len(p.HostPorts) != 1 || p.HostPorts[0] != (model.HostPort{Port: 81, Protocol: v1.ProtocolTCP}) || p.Simple() {
					t.Errorf("ports: %+v", p.HostPorts)
				}
			}},
		{"gates, claims, devices", `{"schedulingGates":[{"name":"g"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}},{"name":"e","ephemeral":{}}],"resourceClaims":[{"name":"r"}]}`,
			func(t *testing.T, p *model.Pod) {
				if !p.Gated || len(p.Claims) != 2 || p.Claims[0] != "data" || p.Claims[1] != "p-e" || !p.DeviceClaims {
					t.Errorf("constraints: %+v", p.Constraints)
				}
			}},
		{"affinity and spread", `{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone"}]}},"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]}`,
			func(t *testing.T, p *model.Pod) {
				if p.AntiAffinity == nil || len(p.Spread) != 1 || p.Spread[0].MaxSkew != 1 || p.Simple() {
					t.Errorf("constraints: %+v", p.Constraints)
				}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := model.DecodePod(`{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"a":"b\"c"}},"spec":` + tt.spec + `,"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"m"}]}}`)
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != "p" || p.Namespace != "n" || p.UID != "u" || p.Labels["a"] != `b"c` || p.Message != "m" || p.Terminal() {
				t.Errorf("metadata or status: %+v", p)
			}
			tt.check(t, p)
		})
	}
}

func TestDecodePodRefusesWhatItCannotRead(t *testing.T) {
	for _, spec := range []string{
		`{"containers":[{"resources":{"requests":{"cpu":"many"}}}]}`,
		`{"topologySpreadConstraints":[{"maxSkew":"one"}]}`,
		`{"affinity":{"nodeAffinity":[]}}`,
	} {
		if _, err := model.DecodePod(`{"metadata":{"name":"p"},"spec":` + spec + `}`); err == nil {
			t.Errorf("%s: no error", spec)
		}
	}
}

func TestClassTellsPodsApart(t *testing.T) {
	specs := []string{
		`{"containers":[{}]}`,
		`{"containers":[{"resources":{"requests":{"cpu":"1"}}}]}`,
		`{"containers":[{"resources":{"requests":{"memory":"1"}}}]}`,
		`{"containers":[{"resources":{"requests":{"x/a":"1"}}}]}`,
		`{"containers":[{}],"nodeSelector":{"a":"b"}}`,
		`{"containers":[{}],"tolerations":[{"key":"a","operator":"Exists"}]}`,
		`{"containers":[{}],"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[]}}}`,
	}
	seen := map[string]string{}
	for _, spec := range specs {
		p, err := model.DecodePod(`{"metadata":{"name":"p"},"spec":` + spec + `}`)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[p.Class]; ok {
			t.Errorf("%s and %s are of one class", spec, other)
		}
		seen[p.Class] = spec
	}
	a, _ := model.DecodePod(`{"metadata":{"name":"a"},"spec":{"containers":[{"image":"x"}]}}`)
	b, _ := model.DecodePod(`{"metadata":{"name":"b"},"spec":{"containers":[{"image":"y"}],"nodeName":"n"}}`)
	if a.Class != b.Class {
		t.Errorf("classes differ: %q, %q", a.Class, b.Class)
	}
}

func TestDecodeNode(t *testing.T) {
	raw := `{"metadata":{"name":"n","labels":{"a":"b"}},"spec":{"unschedulable":true,"taints":[{"key":"k","effect":"NoSchedule"}]},"status":{"allocatable":{"cpu":"2","memory":"4Gi","pods":"110","hugepages-2Mi":"0"}}}`
	n, err := model.DecodeNode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Unschedulable || len(n.Taints) != 1 || n.Allocatable.MilliCPU != 2000 || n.Allocatable.Memory != 4<<30 || n.AllowedPods != 110 {
		t.Errorf("node: %+v", n)
	}
	again, err := model.DecodeNode(raw)
	if err != nil || !n.Same(again) {
		t.Errorf("the same node differs from itself: %v", err)
	}
	again.Taints = nil
	if n.Same(again) {
		t.Error("a node without taints is the same as one with")
	}
}

const benchPod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"bench-00001","namespace":"bench","uid":"5e2f7d5c-3a6b-4f7e-9f43-000000000001","resourceVersion":"1234","creationTimestamp":"2026-11-20T12:00:00Z","labels":{"app":"bench","tier":"web"},"managedFields":[{"manager":"bench","operation":"Update","apiVersion":"v1","time":"2026-11-20T12:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:tier":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{".":{},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}}]},"spec":{"volumes":[{"name":"kube-api-access-abcde","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}],"containers":[{"name":"c","image":"registry.example.com/app:1","resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"volumeMounts":[{"name":"kube-api-access-abcde","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true},"status":{"phase":"Pending","qosClass":"Burstable"}}`

func BenchmarkDecodePod(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := model.DecodePod(benchPod); err != nil {
			b.Fatal(err)
		}
	}
}
