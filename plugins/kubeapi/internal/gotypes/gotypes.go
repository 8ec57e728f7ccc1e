package gotypes

import (
	"reflect"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
)

// New returns a new object of the Go type of a kind or list kind. Types that every group
// shares (Status, DeleteOptions, WatchEvent, …) are known under each served group and
// version.
func New(gvk runtimeschema.GroupVersionKind) (runtime.Object, bool) {
	types := goTypes()
	t, ok := types.kinds[gvk]
	if !ok && types.versions[gvk.GroupVersion()] {
		t, ok = types.shared[gvk.Kind]
	}
	if !ok {
		return nil, false
	}
	return reflect.New(t).Interface().(runtime.Object), true
}

// Component returns the name of a kind's schema, such as io.k8s.api.core.v1.Pod.
func Component(gvk runtimeschema.GroupVersionKind) (string, bool) {
	o, ok := New(gvk)
	if !ok {
		return "", false
	}
	m, ok := o.(interface{ OpenAPIModelName() string })
	if !ok {
		return "", false
	}
	return m.OpenAPIModelName(), true
}

// Kinds returns all kinds of the groups served, list kinds too, in no order.
func Kinds() []runtimeschema.GroupVersionKind {
	types := goTypes()
	kinds := make([]runtimeschema.GroupVersionKind, 0, len(types.kinds))
	for k := range types.kinds {
		kinds = append(kinds, k)
	}
	return kinds
}

type goTypeTable struct {
	kinds    map[runtimeschema.GroupVersionKind]reflect.Type
	versions map[runtimeschema.GroupVersion]bool
	shared   map[string]reflect.Type
}

// goTypes is a table of our own and not a runtime.Scheme: it costs a map of types, and
// none of the conversion and defaulting machinery.
var goTypes = sync.OnceValue(func() *goTypeTable {
	t := &goTypeTable{
		kinds:    map[runtimeschema.GroupVersionKind]reflect.Type{},
		versions: map[runtimeschema.GroupVersion]bool{},
		shared:   map[string]reflect.Type{},
	}
	add := func(gv runtimeschema.GroupVersion, objects ...runtime.Object) {
		t.versions[gv] = true
		for _, o := range objects {
			typ := reflect.TypeOf(o).Elem()
			t.kinds[gv.WithKind(typ.Name())] = typ
		}
	}
	for _, o := range []runtime.Object{
		(*metav1.Status)(nil), (*metav1.DeleteOptions)(nil), (*metav1.CreateOptions)(nil),
		(*metav1.UpdateOptions)(nil), (*metav1.PatchOptions)(nil), (*metav1.GetOptions)(nil),
		(*metav1.ListOptions)(nil), (*metav1.APIVersions)(nil), (*metav1.APIGroup)(nil),
		(*metav1.APIGroupList)(nil), (*metav1.APIResourceList)(nil),
		(*metav1.WatchEvent)(nil),
	} {
		typ := reflect.TypeOf(o).Elem()
		t.shared[typ.Name()] = typ
	}
	addKinds(add)
	return t
})

func addKinds(add func(runtimeschema.GroupVersion, ...runtime.Object)) {
	add(corev1.SchemeGroupVersion,
		(*corev1.Pod)(nil),
		(*corev1.PodList)(nil),
		(*corev1.PodStatusResult)(nil),
		(*corev1.PodTemplate)(nil),
		(*corev1.PodTemplateList)(nil),
		(*corev1.ReplicationController)(nil),
		(*corev1.ReplicationControllerList)(nil),
		(*corev1.Service)(nil),
		(*corev1.ServiceProxyOptions)(nil),
		(*corev1.ServiceList)(nil),
		(*corev1.Endpoints)(nil),
		(*corev1.EndpointsList)(nil),
		(*corev1.Node)(nil),
		(*corev1.NodeList)(nil),
		(*corev1.NodeProxyOptions)(nil),
		(*corev1.Binding)(nil),
		(*corev1.Event)(nil),
		(*corev1.EventList)(nil),
		(*corev1.List)(nil),
		(*corev1.LimitRange)(nil),
		(*corev1.LimitRangeList)(nil),
		(*corev1.ResourceQuota)(nil),
		(*corev1.ResourceQuotaList)(nil),
		(*corev1.Namespace)(nil),
		(*corev1.NamespaceList)(nil),
		(*corev1.Secret)(nil),
		(*corev1.SecretList)(nil),
		(*corev1.ServiceAccount)(nil),
		(*corev1.ServiceAccountList)(nil),
		(*corev1.PersistentVolume)(nil),
		(*corev1.PersistentVolumeList)(nil),
		(*corev1.PersistentVolumeClaim)(nil),
		(*corev1.PersistentVolumeClaimList)(nil),
		(*corev1.PodAttachOptions)(nil),
		(*corev1.PodLogOptions)(nil),
		(*corev1.PodExecOptions)(nil),
		(*corev1.PodPortForwardOptions)(nil),
		(*corev1.PodProxyOptions)(nil),
		(*corev1.ComponentStatus)(nil),
		(*corev1.ComponentStatusList)(nil),
		(*corev1.SerializedReference)(nil),
		(*corev1.RangeAllocation)(nil),
		(*corev1.ConfigMap)(nil),
		(*corev1.ConfigMapList)(nil),
	)
	add(appsv1.SchemeGroupVersion,
		(*appsv1.Deployment)(nil),
		(*appsv1.DeploymentList)(nil),
		(*appsv1.StatefulSet)(nil),
		(*appsv1.StatefulSetList)(nil),
		(*appsv1.DaemonSet)(nil),
		(*appsv1.DaemonSetList)(nil),
		(*appsv1.ReplicaSet)(nil),
		(*appsv1.ReplicaSetList)(nil),
		(*appsv1.ControllerRevision)(nil),
		(*appsv1.ControllerRevisionList)(nil),
	)
	add(rbacv1.SchemeGroupVersion,
		(*rbacv1.Role)(nil),
		(*rbacv1.RoleBinding)(nil),
		(*rbacv1.RoleBindingList)(nil),
		(*rbacv1.RoleList)(nil),
		(*rbacv1.ClusterRole)(nil),
		(*rbacv1.ClusterRoleBinding)(nil),
		(*rbacv1.ClusterRoleBindingList)(nil),
		(*rbacv1.ClusterRoleList)(nil),
	)
	add(coordv1.SchemeGroupVersion,
		(*coordv1.Lease)(nil),
		(*coordv1.LeaseList)(nil),
	)
	add(eventsv1.SchemeGroupVersion,
		(*eventsv1.Event)(nil),
		(*eventsv1.EventList)(nil),
	)
	add(discoveryv1.SchemeGroupVersion,
		(*discoveryv1.EndpointSlice)(nil),
		(*discoveryv1.EndpointSliceList)(nil),
	)
	add(authnv1.SchemeGroupVersion,
		(*authnv1.TokenReview)(nil),
		(*authnv1.TokenRequest)(nil),
		(*authnv1.SelfSubjectReview)(nil),
	)
	add(authzv1.SchemeGroupVersion,
		(*authzv1.SelfSubjectRulesReview)(nil),
		(*authzv1.SelfSubjectAccessReview)(nil),
		(*authzv1.SubjectAccessReview)(nil),
		(*authzv1.LocalSubjectAccessReview)(nil),
	)
	add(autoscalingv1.SchemeGroupVersion,
		(*autoscalingv1.HorizontalPodAutoscaler)(nil),
		(*autoscalingv1.HorizontalPodAutoscalerList)(nil),
		(*autoscalingv1.Scale)(nil),
	)
	add(autoscalingv2.SchemeGroupVersion,
		(*autoscalingv2.HorizontalPodAutoscaler)(nil),
		(*autoscalingv2.HorizontalPodAutoscalerList)(nil),
	)
	add(batchv1.SchemeGroupVersion,
		(*batchv1.Job)(nil),
		(*batchv1.JobList)(nil),
		(*batchv1.CronJob)(nil),
		(*batchv1.CronJobList)(nil),
	)
	add(certificatesv1.SchemeGroupVersion,
		(*certificatesv1.CertificateSigningRequest)(nil),
		(*certificatesv1.CertificateSigningRequestList)(nil),
	)
	add(networkingv1.SchemeGroupVersion,
		(*networkingv1.Ingress)(nil),
		(*networkingv1.IngressList)(nil),
		(*networkingv1.IngressClass)(nil),
		(*networkingv1.IngressClassList)(nil),
		(*networkingv1.NetworkPolicy)(nil),
		(*networkingv1.NetworkPolicyList)(nil),
		(*networkingv1.IPAddress)(nil),
		(*networkingv1.IPAddressList)(nil),
		(*networkingv1.ServiceCIDR)(nil),
		(*networkingv1.ServiceCIDRList)(nil),
	)
	add(nodev1.SchemeGroupVersion,
		(*nodev1.RuntimeClass)(nil),
		(*nodev1.RuntimeClassList)(nil),
	)
	add(policyv1.SchemeGroupVersion,
		(*policyv1.PodDisruptionBudget)(nil),
		(*policyv1.PodDisruptionBudgetList)(nil),
		(*policyv1.Eviction)(nil),
	)
	add(schedulingv1.SchemeGroupVersion,
		(*schedulingv1.PriorityClass)(nil),
		(*schedulingv1.PriorityClassList)(nil),
	)
	add(storagev1.SchemeGroupVersion,
		(*storagev1.StorageClass)(nil),
		(*storagev1.StorageClassList)(nil),
		(*storagev1.VolumeAttachment)(nil),
		(*storagev1.VolumeAttachmentList)(nil),
		(*storagev1.CSINode)(nil),
		(*storagev1.CSINodeList)(nil),
		(*storagev1.CSIDriver)(nil),
		(*storagev1.CSIDriverList)(nil),
		(*storagev1.CSIStorageCapacity)(nil),
		(*storagev1.CSIStorageCapacityList)(nil),
		(*storagev1.VolumeAttributesClass)(nil),
		(*storagev1.VolumeAttributesClassList)(nil),
	)
	add(admissionv1.SchemeGroupVersion,
		(*admissionv1.ValidatingWebhookConfiguration)(nil),
		(*admissionv1.ValidatingWebhookConfigurationList)(nil),
		(*admissionv1.MutatingWebhookConfiguration)(nil),
		(*admissionv1.MutatingWebhookConfigurationList)(nil),
		(*admissionv1.ValidatingAdmissionPolicy)(nil),
		(*admissionv1.ValidatingAdmissionPolicyList)(nil),
		(*admissionv1.ValidatingAdmissionPolicyBinding)(nil),
		(*admissionv1.ValidatingAdmissionPolicyBindingList)(nil),
		(*admissionv1.MutatingAdmissionPolicy)(nil),
		(*admissionv1.MutatingAdmissionPolicyList)(nil),
		(*admissionv1.MutatingAdmissionPolicyBinding)(nil),
		(*admissionv1.MutatingAdmissionPolicyBindingList)(nil),
	)
	add(flowcontrolv1.SchemeGroupVersion,
		(*flowcontrolv1.FlowSchema)(nil),
		(*flowcontrolv1.FlowSchemaList)(nil),
		(*flowcontrolv1.PriorityLevelConfiguration)(nil),
		(*flowcontrolv1.PriorityLevelConfigurationList)(nil),
	)
	add(resourcev1.SchemeGroupVersion,
		(*resourcev1.DeviceClass)(nil),
		(*resourcev1.DeviceClassList)(nil),
		(*resourcev1.ResourceClaim)(nil),
		(*resourcev1.ResourceClaimList)(nil),
		(*resourcev1.ResourceClaimTemplate)(nil),
		(*resourcev1.ResourceClaimTemplateList)(nil),
		(*resourcev1.ResourceSlice)(nil),
		(*resourcev1.ResourceSliceList)(nil),
	)
}
