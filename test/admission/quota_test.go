package admission

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/test/inprocess"
)

func list(amounts map[string]string) v1.ResourceList {
	out := v1.ResourceList{}
	for name, q := range amounts {
		out[v1.ResourceName(name)] = resource.MustParse(q)
	}
	return out
}

func newQuota(name string, hard map[string]string, change ...func(*v1.ResourceQuota)) *v1.ResourceQuota {
	q := &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.ResourceQuotaSpec{Hard: list(hard)}}
	for _, c := range change {
		c(q)
	}
	return q
}

func newPod(name, request, limit string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "i"}}}}
	r := &p.Spec.Containers[0].Resources
	if request != "" {
		r.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(request)}
	}
	if limit != "" {
		r.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse(limit)}
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// used returns the usage of a quota as text, in the order of the names.
func (e *env) used(tb testing.TB, namespace, name string) string {
	tb.Helper()
	q, err := e.client.CoreV1().ResourceQuotas(namespace).Get(tb.Context(), name, metav1.GetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(q.Status.Used)) {
		amount := q.Status.Used[n]
		parts = append(parts, fmt.Sprintf("%s=%s", n, amount.String()))
	}
	return strings.Join(parts, " ")
}

// enforce makes a quota and waits until it is counted.
func (e *env) enforce(tb testing.TB, namespace string, q *v1.ResourceQuota) {
	tb.Helper()
	if _, err := e.client.CoreV1().ResourceQuotas(namespace).Create(tb.Context(), q, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
	eventually(tb, "quota "+q.Name+" is counted", func() bool {
		got, err := e.client.CoreV1().ResourceQuotas(namespace).Get(tb.Context(), q.Name, metav1.GetOptions{})
		if err != nil {
			tb.Fatal(err)
		}
		return equality.Semantic.DeepEqual(got.Status.Hard, q.Spec.Hard)
	})
}

func TestQuotaRefusesInUpstreamsWords(t *testing.T) {
	e := serve(t, admission.Options{})
	stop := e.count(t)
	defer stop()
	e.enforce(t, "n", newQuota("compute", map[string]string{"pods": "2", "requests.cpu": "1", "limits.cpu": "2", "requests.example.com/gpu": "1"}))
	e.enforce(t, "n", newQuota("objects", map[string]string{"services.nodeports": "1", "count/configmaps": "1", "secrets": "1", "requests.storage": "1Gi",
		"gold.storageclass.storage.k8s.io/persistentvolumeclaims": "0", "count/leases.coordination.k8s.io": "1"}))
	core := e.client.CoreV1()
	ctx := t.Context()
	pod := func(p *v1.Pod) func() error {
		return func() error { _, err := core.Pods("n").Create(ctx, p, metav1.CreateOptions{}); return err }
	}
	gpu := func(p *v1.Pod) {
		r := &p.Spec.Containers[0].Resources
		r.Limits["example.com/gpu"], r.Requests["example.com/gpu"] = resource.MustParse("2"), resource.MustParse("2")
	}
	service := func(name string, typ v1.ServiceType, ports int32) func() error {
		s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.ServiceSpec{Type: typ}}
		for i := range ports {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: fmt.Sprintf("p%d", i), Port: 80 + i})
		}
		return func() error { _, err := core.Services("n").Create(ctx, s, metav1.CreateOptions{}); return err }
	}
	claim := func(name, size, class string) func() error {
		c := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Resources: v1.VolumeResourceRequirements{Requests: list(map[string]string{"storage": size})}}}
		if class != "" {
			c.Spec.StorageClassName = &class
		}
		return func() error {
			_, err := core.PersistentVolumeClaims("n").Create(ctx, c, metav1.CreateOptions{})
			return err
		}
	}
	configMap := func(name string, dryRun ...string) func() error {
		return func() error {
			_, err := core.ConfigMaps("n").Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: dryRun})
			return err
		}
	}
	for _, tc := range []struct {
		name string
		do   func() error
		want string
	}{
		{"no request", pod(newPod("a", "", "1")), ``}, // a limit is a request
		{"nothing said", pod(newPod("b", "", "")), `pods "b" is forbidden: failed quota: compute: must specify limits.cpu for: c; requests.cpu for: c`},
		{"no limit", pod(newPod("b", "1m", "")), `pods "b" is forbidden: failed quota: compute: must specify limits.cpu for: c`},
		{"too much", pod(newPod("b", "0", "1001m")), `pods "b" is forbidden: exceeded quota: compute, requested: limits.cpu=1001m, used: limits.cpu=1, limited: limits.cpu=2`},
		{"two of them", pod(newPod("b", "500m", "1500m")), `pods "b" is forbidden: exceeded quota: compute, requested: limits.cpu=1500m,requests.cpu=500m, used: limits.cpu=1,requests.cpu=1, limited: limits.cpu=2,requests.cpu=1`},
		{"extended", pod(newPod("b", "0", "1m", gpu)), `pods "b" is forbidden: exceeded quota: compute, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=0, limited: requests.example.com/gpu=1`},
		{"what is left", pod(newPod("b", "0", "1")), ``},
		{"a third", pod(newPod("c", "0", "0")), `pods "c" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=2, limited: pods=2`},
		{"node ports", service("s", v1.ServiceTypeNodePort, 2), `services "s" is forbidden: exceeded quota: objects, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1`},
		{"one node port", service("s", v1.ServiceTypeNodePort, 1), ``},
		{"dry run", configMap("x", "All"), ``},
		{"first config map", configMap("x"), ``},
		{"dry run of too many", configMap("y", "All"), `configmaps "y" is forbidden: exceeded quota: objects, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1`},
		{"storage", claim("v", "2Gi", ""), `persistentvolumeclaims "v" is forbidden: exceeded quota: objects, requested: requests.storage=2Gi, used: requests.storage=0, limited: requests.storage=1Gi`},
		{"of a class", claim("v", "1Mi", "gold"), `persistentvolumeclaims "v" is forbidden: exceeded quota: objects, requested: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, used: gold.storageclass.storage.k8s.io/persistentvolumeclaims=0, limited: gold.storageclass.storage.k8s.io/persistentvolumeclaims=0`},
		{"less storage", claim("v", "1Gi", ""), ``},
	} {
		if got := refused(tc.do()); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
	// A service that becomes more is charged the difference.
	s, err := core.Services("n").Get(ctx, "s", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "more", Port: 99})
	_, err = core.Services("n").Update(ctx, s, metav1.UpdateOptions{})
	if got, want := refused(err), `services "s" is forbidden: exceeded quota: objects, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1`; got != want {
		t.Errorf("update:\n got %s\nwant %s", got, want)
	}
	// What is deleted is free again.
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := core.Pods("n").Delete(ctx, "b", now); err != nil {
		t.Fatal(err)
	}
	if err := core.ConfigMaps("n").Delete(ctx, "x", now); err != nil {
		t.Fatal(err)
	}
	eventually(t, "usage is lower", func() bool {
		return e.used(t, "n", "compute") == "limits.cpu=1 pods=1 requests.cpu=1 requests.example.com/gpu=0" &&
			strings.HasPrefix(e.used(t, "n", "objects"), "count/configmaps=0 ")
	})
}

func TestQuotaOfUnknownUsageRefuses(t *testing.T) {
	e := serve(t, admission.Options{})
	ctx := t.Context()
	q, err := e.client.CoreV1().ResourceQuotas("n").Create(ctx, newQuota("q", map[string]string{"count/configmaps": "5"}), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	create := func() error {
		_, err := e.client.CoreV1().ConfigMaps("n").Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c"}}, metav1.CreateOptions{})
		return err
	}
	if err := create(); err != nil {
		t.Errorf("a quota that nobody has looked at yet limits nothing: %v", err)
	}
	q.Status.Hard = q.Spec.Hard
	if _, err := e.client.CoreV1().ResourceQuotas("n").UpdateStatus(ctx, q, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := refused(create()); !strings.Contains(got, "status unknown for quota: q, resources: count/configmaps") {
		t.Errorf("got %s", got)
	}
}

// TestConcurrentWritesStayWithinQuotas creates and deletes at once and never finds more than
// the quotas allow; when it is quiet, the usage is what there is.
func TestConcurrentWritesStayWithinQuotas(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("5"); err != nil { // each has a cluster's worth of waiting
			t.Fatal(err)
		}
	}
	e := serve(t, admission.Options{})
	stop := e.count(t)
	defer stop()
	var round atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		namespace := fmt.Sprintf("r%d", round.Add(1))
		inprocess.Namespace(t, e.client, namespace, nil)
		configMaps, pods := rapid.IntRange(1, 12).Draw(rt, "config maps"), rapid.IntRange(1, 8).Draw(rt, "pods")
		e.enforce(t, namespace, newQuota("a", map[string]string{"count/configmaps": fmt.Sprint(configMaps), "pods": fmt.Sprint(pods)}))
		e.enforce(t, namespace, newQuota("b", map[string]string{"requests.cpu": fmt.Sprintf("%dm", 100*pods-50)}))
		writers := rapid.IntRange(2, 16).Draw(rt, "writers")
		each := rapid.IntRange(1, 4).Draw(rt, "each")
		core := e.client.CoreV1()
		now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
		var wg sync.WaitGroup
		var failures atomic.Pointer[error]
		check := func(err error) bool {
			if err != nil && !apierrors.IsForbidden(err) {
				failures.Store(&err)
			}
			return err == nil
		}
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					name := fmt.Sprintf("w%d-%d", w, i)
					_, err := core.ConfigMaps(namespace).Create(ctx, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
					made := check(err)
					_, err = core.Pods(namespace).Create(ctx, newPod(name, "100m", ""), metav1.CreateOptions{})
					check(err)
					if made && (w+i)%3 == 0 {
						check(core.ConfigMaps(namespace).Delete(ctx, name, now))
					}
					n, p := e.there(ctx, t, namespace)
					if n > configMaps || p > pods-1 {
						err := fmt.Errorf("%d config maps of %d, %d pods of %d", n, configMaps, p, pods-1)
						failures.Store(&err)
					}
				}
			})
		}
		wg.Wait()
		if err := failures.Load(); err != nil {
			rt.Fatal(*err)
		}
		n, p := e.there(ctx, t, namespace)
		wantA, wantB := fmt.Sprintf("count/configmaps=%d pods=%d", n, p), fmt.Sprintf("requests.cpu=%s", resource.NewMilliQuantity(int64(100*p), resource.DecimalSI))
		eventually(t, fmt.Sprintf("usage is %s, %s", wantA, wantB), func() bool {
			return e.used(t, namespace, "a") == wantA && e.used(t, namespace, "b") == wantB
		})
	})
}

// there counts the config maps and the pods of a namespace.
func (e *env) there(ctx context.Context, tb testing.TB, namespace string) (configMaps, pods int) {
	m, err := e.client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		tb.Error(err)
		return 0, 0
	}
	p, err := e.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		tb.Error(err)
		return 0, 0
	}
	return len(m.Items), len(p.Items)
}
