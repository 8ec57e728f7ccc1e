// Command gizmo-name is a plugin for Pintle: a cloud provider.
package main

import (
	"github.com/pintle-dev/pintle/sdk/cloud"
	"github.com/pintle-dev/pintle/sdk/serve"
)

func main() {
	p := &Plugin{}
	serve.Serve(p, cloud.Point(p))
}
