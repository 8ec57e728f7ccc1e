package protocol

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// InfoToWire converts who a plugin is; the points it offers are added by the server.
func InfoToWire(i plugin.Info) *pluginv1.InfoResponse {
	out := &pluginv1.InfoResponse{Name: i.Name, Version: i.Version, Description: i.Description}
	for _, r := range i.Permissions {
		out.Permissions = append(out.Permissions, &pluginv1.PolicyRule{
			Verbs: r.Verbs, ApiGroups: r.APIGroups, Resources: r.Resources,
			ResourceNames: r.ResourceNames, NonResourceUrls: r.NonResourceURLs,
		})
	}
	return out
}

// InfoFromWire converts who a plugin is.
func InfoFromWire(i *pluginv1.InfoResponse) plugin.Info {
	out := plugin.Info{Name: i.GetName(), Version: i.GetVersion(), Description: i.GetDescription()}
	for _, r := range i.GetPermissions() {
		out.Permissions = append(out.Permissions, rbacv1.PolicyRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetApiGroups(), Resources: r.GetResources(),
			ResourceNames: r.GetResourceNames(), NonResourceURLs: r.GetNonResourceUrls(),
		})
	}
	return out
}
