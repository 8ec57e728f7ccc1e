package workloads

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/plugin"
)

var _ controller.Controller = (*Workloads)(nil)

// Workloads is the plugin.
type Workloads struct {
	settings Settings
}

// New returns the plugin with the default settings.
func New() *Workloads { return &Workloads{settings: defaultSettings()} }

// Info says who the plugin is and which permissions it asks for.
func (w *Workloads) Info() plugin.Info {
	return plugin.Info{
		Name:        "workloads",
		Version:     "v0.1.0",
		Description: "Deployments, ReplicaSets, ReplicationControllers, StatefulSets, DaemonSets, garbage collection, namespaces, service accounts, endpoints, volumes of claims and node life cycle.",
		Permissions: permissions(),
	}
}

func permissions() []rbacv1.PolicyRule {
	rule := func(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	return []rbacv1.PolicyRule{
		// The garbage collector and the namespace controller act on whatever types there
		// are, also those that do not exist yet.
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "patch", "update", "delete", "deletecollection"}},
		{NonResourceURLs: []string{"/api", "/api/*", "/apis", "/apis/*"}, Verbs: []string{"get"}},
		rule("", []string{"pods", "serviceaccounts", "configmaps", "endpoints", "events", "persistentvolumeclaims", "persistentvolumes"}, "create"),
		rule("storage.k8s.io", []string{"volumeattachments"}, "create"),
		rule("apps", []string{"replicasets", "controllerrevisions"}, "create"),
		rule("discovery.k8s.io", []string{"endpointslices"}, "create"),
		rule("batch", []string{"jobs"}, "create"),
		rule("networking.k8s.io", []string{"ipaddresses"}, "create"),
		rule("authorization.k8s.io", []string{"subjectaccessreviews"}, "create"),
		// Client certificates that nodes ask for themselves.
		{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, ResourceNames: []string{"kubernetes.io/kube-apiserver-client-kubelet"}, Verbs: []string{"approve"}},
	}
}

// ConfigSchema returns the structural schema of Settings.
func (w *Workloads) ConfigSchema() []byte { return settingsSchema() }

// Configure takes the settings; unknown fields are refused.
func (w *Workloads) Configure(_ context.Context, settings []byte) error {
	parsed, err := parseSettings(settings)
	if err != nil {
		return err
	}
	w.settings = parsed
	return nil
}
