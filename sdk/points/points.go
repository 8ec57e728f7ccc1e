// Package points finds out which extension points a value offers, for who serves plugins that
// it does not know: hosts with plugins linked in, and tests. A plugin's own main names its
// points, so that the compiler checks them and nothing else comes into its build.
package points

import (
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/apiservice"
	"github.com/pintle-dev/pintle/sdk/authentication"
	"github.com/pintle-dev/pintle/sdk/authorization"
	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/kms"
	"github.com/pintle-dev/pintle/sdk/network"
	"github.com/pintle-dev/pintle/sdk/plugin"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/runtimedriver"
	"github.com/pintle-dev/pintle/sdk/scheduler"
	"github.com/pintle-dev/pintle/sdk/scheduling"
	"github.com/pintle-dev/pintle/sdk/storage"
)

// Of lists all extension points that impl implements.
func Of(impl plugin.Plugin) []plugin.Point {
	var out []plugin.Point
	if c, ok := impl.(controller.Controller); ok {
		out = append(out, controller.Point(c))
	}
	if s, ok := impl.(scheduler.Scheduler); ok {
		out = append(out, scheduler.Point(s))
	}
	if n, ok := impl.(network.Network); ok {
		out = append(out, network.Point(n))
	}
	if b, ok := impl.(resource.Bundle); ok {
		out = append(out, resource.Point(b))
	}
	if k, ok := impl.(kms.KeyManager); ok {
		out = append(out, kms.Point(k))
	}
	if s, ok := impl.(scheduling.Extension); ok {
		out = append(out, scheduling.Point(s))
	}
	if a, ok := impl.(apiservice.APIService); ok {
		out = append(out, apiservice.Point(a))
	}
	if a, ok := impl.(admission.Admission); ok {
		out = append(out, admission.Point(a))
	}
	if a, ok := impl.(authentication.Authenticator); ok {
		out = append(out, authentication.Point(a))
	}
	if a, ok := impl.(authorization.Authorizer); ok {
		out = append(out, authorization.Point(a))
	}
	if c, ok := impl.(cloud.Cloud); ok {
		out = append(out, cloud.Point(c))
	}
	if s, ok := impl.(storage.Storage); ok {
		out = append(out, storage.Point(s))
	}
	if d, ok := impl.(runtimedriver.RuntimeDriver); ok {
		out = append(out, runtimedriver.Point(d))
	}
	return out
}
