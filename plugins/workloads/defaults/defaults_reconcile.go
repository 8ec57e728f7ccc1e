package defaults

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names and texts that Kubernetes has made known.
const (
	ServiceAccount = "default"
	RootCA         = "kube-root-ca.crt"

	rootCAKey         = "ca.crt"
	descriptionKey    = "kubernetes.io/description"
	rootCADescription = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

// needsDefaults reports whether a namespace is one in which objects may still be made.
func needsDefaults(ns *v1.Namespace) bool {
	return ns != nil && ns.DeletionTimestamp == nil && ns.Status.Phase != v1.NamespaceTerminating
}

func serviceAccount(namespace string) *v1.ServiceAccount {
	return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: ServiceAccount, Namespace: namespace}}
}

func rootCA(namespace, pem string) *v1.ConfigMap {
	return &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: RootCA, Namespace: namespace,
			Annotations: map[string]string{descriptionKey: rootCADescription},
		},
		Data: map[string]string{rootCAKey: pem},
	}
}

// rootCAStands reports whether a ConfigMap is as it should be.
func rootCAStands(cm *v1.ConfigMap, pem string) bool {
	return len(cm.Data) == 1 && cm.Data[rootCAKey] == pem && cm.Annotations[descriptionKey] != ""
}
