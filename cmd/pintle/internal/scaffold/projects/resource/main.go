// Command gizmo-name is a plugin for Pintle: a resource type, Gizmo, and its controller.
package main

import (
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/resource"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, resource.Point(p), controller.Point(p))
}
