// Command gizmo-name is a plugin for Pintle: a controller.
package main

import (
	"github.com/pintle-dev/pintle/sdk/controller"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, controller.Point(p))
}
