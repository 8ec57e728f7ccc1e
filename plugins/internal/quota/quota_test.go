package quota_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/internal/quota"
	"github.com/pintle-dev/pintle/plugins/internal/quota/quotatest"
)

func ptr[T any](v T) *T { return &v }

func container(name, requests, limits string) v1.Container {
	c := v1.Container{Name: name}
	if requests != "" {
		c.Resources.Requests = quotatest.List(strings.Fields(requests)...)
	}
	if limits != "" {
		c.Resources.Limits = quotatest.List(strings.Fields(limits)...)
	}
	return c
}

func pod(change func(*v1.Pod), containers ...v1.Container) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}, Spec: v1.PodSpec{Containers: containers}}
	if change != nil {
		change(p)
	}
	return p
}

func TestUsageOfPods(t *testing.T) {
	sidecar := container("s", "cpu=20m", "")
	sidecar.RestartPolicy = ptr(v1.ContainerRestartPolicyAlways)
	const held = "count/pods=1 "
	for _, tc := range []struct {
		name string
		pod  *v1.Pod
		want string
	}{
		{"best effort", pod(nil, container("c", "", "")), "count/pods=1 pods=1"},
		{"requests and limits", pod(nil, container("c", "cpu=100m memory=1Gi ephemeral-storage=2Gi", "cpu=1 memory=2Gi ephemeral-storage=3Gi")),
			"count/pods=1 cpu=100m ephemeral-storage=2Gi limits.cpu=1 limits.ephemeral-storage=3Gi limits.memory=2Gi memory=1Gi pods=1 " +
				"requests.cpu=100m requests.ephemeral-storage=2Gi requests.memory=1Gi"},
		{"huge pages and extended", pod(nil, container("c", "hugepages-2Mi=4Mi example.com/gpu=2 kubernetes.io/batch=1", "hugepages-2Mi=4Mi example.com/gpu=2")),
			"count/pods=1 hugepages-2Mi=4Mi pods=1 requests.example.com/gpu=2 requests.hugepages-2Mi=4Mi"},
		{"init containers and a sidecar", pod(func(p *v1.Pod) {
			p.Spec.InitContainers = []v1.Container{sidecar, container("i", "cpu=200m", "")}
		}, container("c", "cpu=50m", "")), "count/pods=1 cpu=220m pods=1 requests.cpu=220m"},
		{"of the pod", pod(func(p *v1.Pod) {
			p.Spec.Resources = &v1.ResourceRequirements{Requests: quotatest.List("cpu=1")}
		}, container("c", "cpu=50m", "")), "count/pods=1 cpu=1 pods=1 requests.cpu=1"},
		{"with overhead", pod(func(p *v1.Pod) { p.Spec.Overhead = quotatest.List("cpu=5m") }, container("c", "cpu=50m", "")),
			"count/pods=1 cpu=55m pods=1 requests.cpu=55m"},
		{"shrinking", pod(func(p *v1.Pod) {
			p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", AllocatedResources: quotatest.List("cpu=80m"), Resources: &v1.ResourceRequirements{Requests: quotatest.List("cpu=80m")}}}
		}, container("c", "cpu=50m", "")), "count/pods=1 cpu=80m pods=1 requests.cpu=80m"},
		{"succeeded", pod(func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded }, container("c", "cpu=50m", "")), strings.TrimSpace(held)},
		{"stuck", pod(func(p *v1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now().Add(-time.Hour)}, ptr(int64(30))
		}, container("c", "cpu=50m", "")), strings.TrimSpace(held)},
		{"ending", pod(func(p *v1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, ptr(int64(30))
		}, container("c", "cpu=50m", "")), "count/pods=1 cpu=50m pods=1 requests.cpu=50m"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := quota.For(quota.Pods, nil).Usage(context.Background(), tc.pod)
			if err != nil || quotatest.Show(got) != tc.want {
				t.Errorf("\n got %s, %v\nwant %s", quotatest.Show(got), err, tc.want)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	scope := func(name v1.ResourceQuotaScope, op v1.ScopeSelectorOperator, values ...string) v1.ScopedResourceSelectorRequirement {
		return v1.ScopedResourceSelectorRequirement{ScopeName: name, Operator: op, Values: values}
	}
	exists := func(name v1.ResourceQuotaScope) v1.ScopedResourceSelectorRequirement {
		return scope(name, v1.ScopeSelectorOpExists)
	}
	plain, burst := pod(nil, container("c", "", "")), pod(nil, container("c", "cpu=1m", ""))
	limited := pod(func(p *v1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr(int64(5)) })
	high := pod(func(p *v1.Pod) { p.Spec.PriorityClassName = "high" })
	across := pod(func(p *v1.Pod) {
		p.Spec.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{
			{PodAffinityTerm: v1.PodAffinityTerm{NamespaceSelector: &metav1.LabelSelector{}}}}}}
	})
	claim := func(spec, current, target string) *v1.PersistentVolumeClaim {
		c := &v1.PersistentVolumeClaim{}
		if spec != "" {
			c.Spec.VolumeAttributesClassName = &spec
		}
		if current != "" {
			c.Status.CurrentVolumeAttributesClassName = &current
		}
		if target != "" {
			c.Status.ModifyVolumeStatus = &v1.ModifyVolumeStatus{TargetVolumeAttributesClassName: target}
		}
		return c
	}
	const class, volume = v1.ResourceQuotaScopePriorityClass, v1.ResourceQuotaScopeVolumeAttributesClass
	for _, tc := range []struct {
		name   string
		of     schema.GroupResource
		scope  v1.ScopedResourceSelectorRequirement
		object any
		want   bool
	}{
		{"terminating", quota.Pods, exists(v1.ResourceQuotaScopeTerminating), limited, true},
		{"not terminating", quota.Pods, exists(v1.ResourceQuotaScopeNotTerminating), limited, false},
		{"not terminating, plain", quota.Pods, exists(v1.ResourceQuotaScopeNotTerminating), plain, true},
		{"best effort", quota.Pods, exists(v1.ResourceQuotaScopeBestEffort), plain, true},
		{"not best effort", quota.Pods, exists(v1.ResourceQuotaScopeNotBestEffort), burst, true},
		{"best effort, burst", quota.Pods, exists(v1.ResourceQuotaScopeBestEffort), burst, false},
		{"some class", quota.Pods, exists(class), high, true},
		{"no class", quota.Pods, exists(class), plain, false},
		{"its class", quota.Pods, scope(class, v1.ScopeSelectorOpIn, "high", "low"), high, true},
		{"another class", quota.Pods, scope(class, v1.ScopeSelectorOpIn, "low"), high, false},
		{"not its class", quota.Pods, scope(class, v1.ScopeSelectorOpNotIn, "high"), high, false},
		{"not in, without one", quota.Pods, scope(class, v1.ScopeSelectorOpNotIn, "high"), plain, true},
		{"does not exist", quota.Pods, scope(class, v1.ScopeSelectorOpDoesNotExist), plain, true},
		{"cross namespace", quota.Pods, exists(v1.ResourceQuotaScopeCrossNamespacePodAffinity), across, true},
		{"its own namespace", quota.Pods, exists(v1.ResourceQuotaScopeCrossNamespacePodAffinity), plain, false},
		{"pods of a volume's scope", quota.Pods, exists(volume), plain, false},
		{"wanted", quota.Claims, scope(volume, v1.ScopeSelectorOpIn, "fast"), claim("fast", "", ""), true},
		{"current", quota.Claims, scope(volume, v1.ScopeSelectorOpIn, "fast"), claim("slow", "fast", ""), true},
		{"on its way", quota.Claims, scope(volume, v1.ScopeSelectorOpIn, "fast"), claim("slow", "", "fast"), true},
		{"none", quota.Claims, exists(volume), claim("", "", ""), false},
		{"none of a list", quota.Claims, scope(volume, v1.ScopeSelectorOpNotIn, "fast"), claim("", "", ""), true},
		{"services", quota.Services, exists(class), &v1.Service{}, false},
		{"counted only", schema.GroupResource{Resource: "configmaps"}, exists(class), nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := quota.For(tc.of, nil).InScope(tc.scope, tc.object)
			if err != nil || got != tc.want {
				t.Errorf("%v, %v, want %v", got, err, tc.want)
			}
		})
	}
	if _, err := quota.For(quota.Pods, nil).InScope(scope(class, "Near", "x"), plain); err == nil {
		t.Error("an operator that does not exist is taken")
	}
}

func TestUsageOfOthers(t *testing.T) {
	service := func(s v1.ServiceSpec) *v1.Service { return &v1.Service{Spec: s} }
	ports := []v1.ServicePort{{Port: 1}, {Port: 2, NodePort: 30000}}
	claim := func(size, held, class string) *v1.PersistentVolumeClaim {
		c := &v1.PersistentVolumeClaim{Spec: v1.PersistentVolumeClaimSpec{Resources: v1.VolumeResourceRequirements{Requests: quotatest.List("storage=" + size)}}}
		if held != "" {
			c.Status.AllocatedResources = quotatest.List("storage=" + held)
		}
		if class != "" {
			c.Spec.StorageClassName = &class
		}
		return c
	}
	devices := &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 2}},
		{Name: "b", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "nic", AllocationMode: resourcev1.DeviceAllocationModeAll}},
		{Name: "c", FirstAvailable: []resourcev1.DeviceSubRequest{
			{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1},
			{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3},
			{DeviceClassName: "fpga", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1}}},
	}}}}
	for _, tc := range []struct {
		name   string
		of     schema.GroupResource
		object any
		want   string
	}{
		{"cluster IP", quota.Services, service(v1.ServiceSpec{Ports: ports}), "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0"},
		{"node ports", quota.Services, service(v1.ServiceSpec{Type: v1.ServiceTypeNodePort, Ports: ports}), "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2"},
		{"load balancer", quota.Services, service(v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: ports}), "count/services=1 services=1 services.loadbalancers=1 services.nodeports=2"},
		{"without node ports", quota.Services, service(v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: ports, AllocateLoadBalancerNodePorts: ptr(false)}),
			"count/services=1 services=1 services.loadbalancers=1 services.nodeports=1"},
		{"claim", quota.Claims, claim("1Gi", "", ""), "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=1Gi"},
		{"claim of a class that failed to grow", quota.Claims, claim("1Gi", "2Gi", "gold"),
			"count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/requests.storage=2Gi persistentvolumeclaims=1 requests.storage=2Gi"},
		{"half a byte", quota.Claims, claim("1500m", "", ""), "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=2"},
		{"devices", quota.ResourceClaims, devices,
			"count/resourceclaims.resource.k8s.io=1 fpga.deviceclass.resource.k8s.io/devices=1 gpu.deviceclass.resource.k8s.io/devices=5 nic.deviceclass.resource.k8s.io/devices=32"},
		{"secrets", schema.GroupResource{Resource: "secrets"}, nil, "count/secrets=1 secrets=1"},
		{"widgets", schema.GroupResource{Group: "example.com", Resource: "widgets"}, nil, "count/widgets.example.com=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := quota.For(tc.of, nil).Usage(context.Background(), tc.object)
			if err != nil || quotatest.Show(got) != tc.want {
				t.Errorf("\n got %s, %v\nwant %s", quotatest.Show(got), err, tc.want)
			}
		})
	}
}

// aCluster has one device class, and a pod for whose extended resources a claim was made.
type aCluster struct{ claims []resourcev1.ResourceClaim }

func (aCluster) DeviceClasses(context.Context) ([]resourcev1.DeviceClass, error) {
	return []resourcev1.DeviceClass{{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}, Spec: resourcev1.DeviceClassSpec{ExtendedResourceName: ptr("example.com/gpu")}}}, nil
}

func (c aCluster) ResourceClaims(context.Context, string) ([]resourcev1.ResourceClaim, error) {
	return c.claims, nil
}

func (aCluster) Pod(context.Context, string, string) (*v1.Pod, error) {
	p := pod(func(p *v1.Pod) { p.UID = "u" }, container("c", "example.com/gpu=2", "example.com/gpu=2"))
	return p, nil
}

func TestDevicesAsExtendedResources(t *testing.T) {
	claim := func(name string, forPod bool) resourcev1.ResourceClaim {
		c := resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n"}}
		c.Spec.Devices.Requests = []resourcev1.DeviceRequest{{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{
			DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3}}}
		if forPod {
			c.Annotations = map[string]string{resourcev1.ExtendedResourceClaimAnnotation: "true"}
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: ptr(true)}}
		}
		return c
	}
	a, b := claim("a", true), claim("b", true)
	cluster := aCluster{claims: []resourcev1.ResourceClaim{a, b}}
	const head = "count/resourceclaims.resource.k8s.io=1 gpu.deviceclass.resource.k8s.io/devices=3 "
	for _, tc := range []struct {
		name  string
		claim resourcev1.ResourceClaim
		want  string
	}{
		{"somebody's own", claim("c", false), head + "requests.deviceclass.resource.kubernetes.io/gpu=3 requests.example.com/gpu=3"},
		{"of a pod that has been charged for two", a, head + "requests.deviceclass.resource.kubernetes.io/gpu=3 requests.example.com/gpu=1"},
		{"a second one of the pod", b, head + "requests.deviceclass.resource.kubernetes.io/gpu=3 requests.example.com/gpu=3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := quota.For(quota.ResourceClaims, cluster).Usage(context.Background(), &tc.claim)
			if err != nil || quotatest.Show(got) != tc.want {
				t.Errorf("\n got %s, %v\nwant %s", quotatest.Show(got), err, tc.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	q := func(hard, used v1.ResourceList, scopes ...v1.ResourceQuotaScope) *v1.ResourceQuota {
		return &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: v1.ResourceQuotaSpec{Hard: hard, Scopes: scopes},
			Status: v1.ResourceQuotaStatus{Hard: hard, Used: used}}
	}
	create := func(p *v1.Pod) quota.Request {
		return quota.Request{Operation: quota.Create, Resource: quota.Pods, Object: p}
	}
	resize := func(from, to string) quota.Request {
		return quota.Request{Operation: quota.Update, Resource: quota.Pods, Subresource: "resize",
			Old: pod(nil, container("c", from, "")), Object: pod(nil, container("c", to, ""))}
	}
	timed := pod(func(p *v1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr(int64(1)) }, container("c", "cpu=1", ""))
	for _, tc := range []struct {
		name    string
		quota   *v1.ResourceQuota
		request quota.Request
		want    string // the new usage, or the refusal
	}{
		{"fits", q(quotatest.List("pods=1", "cpu=1"), quotatest.List("pods=0", "cpu=0")), create(pod(nil, container("c", "cpu=1", ""))), "cpu=1 pods=1"},
		{"nothing of it", q(quotatest.List("services=1"), quotatest.List("services=0")), create(pod(nil)), ""},
		{"unknown", q(quotatest.List("pods=1", "requests.cpu=1"), quotatest.List("pods=0")), create(pod(nil, container("c", "cpu=1", ""))), "status unknown for quota: q, resources: pods,requests.cpu"},
		{"negative", q(quotatest.List("cpu=1"), quotatest.List("cpu=0")), create(pod(nil, container("c", "cpu=-1", ""))), "quota usage is negative for resource(s): cpu,requests.cpu"},
		{"over already, more of another", q(quotatest.List("pods=5", "cpu=1"), quotatest.List("pods=1", "cpu=2")), create(pod(nil, container("c", "cpu=0", ""))), "cpu=2 pods=2"},
		{"out of scope", q(quotatest.List("pods=0"), quotatest.List("pods=0"), v1.ResourceQuotaScopeTerminating), create(pod(nil)), ""},
		{"in scope", q(quotatest.List("pods=0"), quotatest.List("pods=0"), v1.ResourceQuotaScopeTerminating), create(timed), "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"},
		{"bigger", q(quotatest.List("cpu=3"), quotatest.List("cpu=1")), resize("cpu=1", "cpu=2"), "cpu=2"},
		{"too big", q(quotatest.List("cpu=3"), quotatest.List("cpu=2")), resize("cpu=1", "cpu=3"), "exceeded quota: q, requested: cpu=2, used: cpu=2, limited: cpu=3"},
		{"smaller", q(quotatest.List("cpu=3"), quotatest.List("cpu=2")), resize("cpu=2", "cpu=1"), ""},
		{"into the scope", q(quotatest.List("cpu=3"), quotatest.List("cpu=0"), v1.ResourceQuotaScopeTerminating),
			quota.Request{Operation: quota.Update, Resource: quota.Pods, Old: pod(nil, container("c", "cpu=1", "")), Object: timed}, "cpu=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := quota.Check(context.Background(), []*v1.ResourceQuota{tc.quota}, quota.For(quota.Pods, nil), tc.request)
			if err != nil {
				var refusal *quota.Refusal
				if !errors.As(err, &refusal) || err.Error() != tc.want {
					t.Fatalf("%v, want %s", err, tc.want)
				}
				return
			}
			text := ""
			if got != nil {
				text = quotatest.Show(got[0])
			}
			if text != tc.want {
				t.Errorf("%s, want %s", text, tc.want)
			}
		})
	}
}

func TestCounted(t *testing.T) {
	got := map[string]bool{}
	for _, gr := range quota.Counted([]v1.ResourceName{"limits.cpu", "gold.storageclass.storage.k8s.io/requests.storage", "secrets", "count/widgets.example.com", "count/pods", "count/events", "what/else"}) {
		got[gr.String()] = true
	}
	for _, want := range []string{"pods", "persistentvolumeclaims", "secrets", "widgets.example.com"} {
		if !got[want] {
			t.Errorf("%s is not counted", want)
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("counted, too: %v", got)
	}
}
