package kubeapi_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/plugins/kubeapi/core"
)

// benchPod is a pod as a workload controller creates it.
const benchPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-5d8c7-","namespace":"kubeapi","labels":{"app":"web","tier":"front","pod-template-hash":"5d8c7"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d8c7","uid":"9f8e1f5e-6d0a-4a70-a6d6-111111111111","controller":true,"blockOwnerDeletion":true}]},
"spec":{"containers":[{"name":"web","image":"registry.example/web:1.2.3","ports":[{"name":"http","containerPort":8080}],
"env":[{"name":"MODE","value":"production"},{"name":"POD","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
"readinessProbe":{"httpGet":{"path":"/ready","port":"http"}},
"volumeMounts":[{"name":"config","mountPath":"/etc/web"}],"securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false}}],
"volumes":[{"name":"config","configMap":{"name":"web"}}],"nodeSelector":{"disk":"ssd"}}}`

// BenchmarkPodCreateHooks is what the hooks add to a pod's creation: the budget is 25 µs.
func BenchmarkPodCreateHooks(b *testing.B) {
	o := parse(b, benchPod)
	typ := typeOf(b, o)
	compiled, err := typ.Compiled()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := compiled.Normalize(o); err != nil {
		b.Fatal(err)
	}
	compiled.Default(o)
	ctx, hooks := context.Background(), core.Pods{}
	const batch = 100 // few enough that the collector has little to walk
	copies := make([]map[string]any, 0, batch)
	var used time.Duration
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(copies) {
		b.StopTimer()
		copies = copies[:0]
		for range min(batch, b.N-n) {
			copies = append(copies, clone(b, o))
		}
		start := cpu(b)
		b.StartTimer()
		for _, pod := range copies {
			r := newRequest(typ, pod, nil, "")
			if err := hooks.Default(ctx, r); err != nil {
				b.Fatal(err)
			}
			if err := hooks.Admit(ctx, r); err != nil {
				b.Fatal(err)
			}
			if err := hooks.Prepare(ctx, r); err != nil {
				b.Fatal(err)
			}
			if errs := hooks.Validate(ctx, r); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
		used += cpu(b) - start
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time of the process: on a busy machine the clock says little.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPodTableRow(b *testing.B) {
	o := parse(b, benchPod)
	b.ReportAllocs()
	for b.Loop() {
		core.Pods{}.Cells(o)
	}
}
