package apiservice

import (
	"context"
	"net/http"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

// APIService serves versions of API groups. In a cluster of several servers there is one of it
// beside each, which answers that server's clients.
type APIService interface {
	plugin.Plugin
	// GroupVersions that the plugin serves, at least one. They must not be served by the
	// cluster or another plugin.
	GroupVersions() []GroupVersion
	// Serve returns the handler of requests for the group versions. It is called once; ctx is
	// done when the host sends no more requests, and what Serve has started should end then.
	//
	// The handler gets, with their whole paths:
	//   - /apis/GROUP/VERSION, a metav1.APIResourceList, from time to time as a check of health
	//   - /apis/GROUP/VERSION/…, requests of the cluster's users, who have been authorized;
	//     [UserFrom] says who asks
	//   - /openapi/v3, /openapi/v3/apis/GROUP/VERSION and /openapi/v2; 404 where it has none
	//
	// Requests come at the same time. One that watches ends when its client goes, which ends
	// the request's context. A panic ends the process, but for http.ErrAbortHandler.
	Serve(ctx context.Context, env plugin.Env) (http.Handler, error)
}

// GroupVersion is a version of an API group, and where it stands among others.
type GroupVersion struct {
	Group, Version string
	// GroupPriority orders groups in discovery, and decides whose short names win: higher
	// first. 0 stands for 1000, which is behind those of Kubernetes.
	GroupPriority int32
	// VersionPriority orders the versions of a group: higher first. 0 stands for 100.
	VersionPriority int32
}
